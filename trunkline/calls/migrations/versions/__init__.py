"""One file per schema step, in the order of their numbers."""
