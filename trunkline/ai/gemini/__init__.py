"""Profile `gemini`: Gemini Live through google-genai, frames on its own connection (docs/providers/gemini.md)."""
