"""What a failure of the connection means, and what to do about it: resume, begin afresh, or stop.

Three families of exceptions stand for one condition in google-genai 3.4 (a close, a refused handshake, a dead socket);
here they become one value.
"""

import re
import ssl
from dataclasses import dataclass
from typing import Literal, TypeAlias

Action: TypeAlias = Literal["resume", "fresh", "stop"]
_QUOTA = re.compile(r"quota|RESOURCE_EXHAUSTED|billing|credit", re.IGNORECASE)
_HOPELESS = re.compile(r"API key|User location|not found|not supported for|PERMISSION_DENIED", re.IGNORECASE)
REFUSALS = (1007, 1008)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no connection. `retryable`: whether another session might be had when our own tries are used up."""

    reason: str
    code: str = ""  # close code, HTTP status, or a word of ours
    action: Action = "resume"
    retryable: bool = True
    wait_s: float = 0.0  # the server asked for at least this


class Broken(Exception):  # noqa: N818 - the state of a connection
    """The connection is not there (any more)."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.reason} ({fault.code})" if fault.code else fault.reason)
        self.fault = fault


def of_close(code: int, reason: str, *, set_up: bool, handle: bool, complaint: str = "") -> Fault:
    """A websocket close. `set_up`: the session had been accepted; `handle`: it was to be a resumption.

    `complaint`: the last error that came as a message, for closes that say nothing.
    """
    text = (reason or complaint or "the connection ended")[:300]
    if _QUOTA.search(text):
        return Fault(text, str(code), "stop", retryable=False)
    if code in REFUSALS and _HOPELESS.search(text) and not (handle and not set_up):
        return Fault(text, str(code), "stop", retryable=False)
    if not set_up and handle and code in (*REFUSALS, 1011):
        return Fault(text, str(code), "fresh")
    if code in REFUSALS:
        return Fault(text, str(code), "fresh" if set_up else "stop", retryable=False)
    return Fault(text, str(code), "resume")


def of_status(status: int, retry_after: str = "") -> Fault:
    """A refused upgrade: 5xx may pass, 429 may after a while, other 4xx will not."""
    reason = f"the upgrade to a websocket was refused with HTTP {status}"
    wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
    if status == 429:
        return Fault(reason, str(status), "resume", retryable=False, wait_s=max(wait_s, 0.5))
    if 400 <= status < 500 and status not in (408, 425):
        return Fault(reason, str(status), "stop", retryable=False)
    return Fault(reason, str(status), "resume", wait_s=wait_s)


def of_network(error: Exception) -> Fault:
    """Name resolution, TCP or TLS. A certificate that does not verify will not by itself."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault(f"the server's certificate: {error.verify_message}", "tls", "stop", retryable=False)
    return Fault(str(error) or type(error).__name__, "network", "resume")


def explained(fault: Fault, complaint: str) -> Fault:
    """The fault, by what the server said in band before a close that says nothing."""
    if complaint and fault.reason == "the connection ended":
        code = int(fault.code) if fault.code.isdigit() else 1006
        return of_close(code, complaint, set_up=True, handle=False)
    return fault
