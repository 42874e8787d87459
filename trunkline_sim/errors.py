"""What the simulators raise on purpose."""


class SimError(Exception):
    """Base of the simulators' errors; the text is written for the person at the terminal."""


class ScriptError(SimError):
    """A caller's script is wrong: one line per fault, with file and line number."""


class VoiceError(SimError):
    """A voice or a recording is not there; says what to install."""


class EndpointError(SimError):
    """A dynamic endpoint did not answer as the platform demands."""
