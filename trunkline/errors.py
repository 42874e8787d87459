"""The error tree. Raise where it is known, translate once at the boundary, catch where something can be done.

TrunklineError
├── ConfigError      a setting is wrong: names the key and what is allowed
├── UsageError       ours: the call is not legal in this state
├── ProtocolError    theirs: the peer's bytes are wrong
├── CarrierError     a carrier's API refused or failed        (retryable, code)
├── ProviderError    an AI vendor refused or failed           (retryable, code)
├── ToolError        a tool could not do what it was asked; its text is told to the model
├── StoreError       the database refused or failed
└── AdmissionError   no room for another call: say busy       (retry_after_s)
"""


class TrunklineError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(TrunklineError):
    """A setting is wrong. The message names the key, the value and what is allowed."""


class UsageError(TrunklineError):
    """A call that is not legal in the present state: a bug on our side."""


class ProtocolError(TrunklineError):
    """The peer's bytes are wrong. Keeps the peer's name and the first of the offending bytes."""

    def __init__(self, message: str, *, peer: str = "", data: str | bytes = b"") -> None:
        super().__init__(message)
        self.peer = peer
        self.data = data[:200]


class _RemoteError(TrunklineError):
    def __init__(self, message: str, *, code: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class CarrierError(_RemoteError):
    """A carrier's API refused or failed."""


class ProviderError(_RemoteError):
    """An AI vendor refused or failed."""


class ToolError(TrunklineError):
    """A tool could not do what it was asked; the text is told to the model, so write it for a reader."""


class StoreError(TrunklineError):
    """The database refused or failed."""


class AdmissionError(TrunklineError):
    """There is no room for another call."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
