"""Who is called, when and how often (arrives with the dialler)."""
