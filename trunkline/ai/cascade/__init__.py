"""Recogniser, language model and synthesiser chained into one AI session, with our own turn taking."""
