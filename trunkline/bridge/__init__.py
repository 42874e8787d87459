"""Carriers' wires, seen from above as call legs. Knows nothing of models, prompts or campaigns."""
