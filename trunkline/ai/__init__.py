"""Minds for calls: speech-to-speech models and cascades, seen as AI sessions. Knows nothing of carriers."""
