"""SIP messages: bytes in, values out, and back. RFC 3261 sections 7, 18.3, 20. Pure.

Written from the RFC a second time, not from the product's own reader, so that each side checks the other.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_BYTES = 65_536  # of one message
_LONG = {
    "i": "call-id", "m": "contact", "f": "from", "t": "to", "v": "via", "l": "content-length", "c": "content-type",
    "k": "supported", "r": "refer-to", "b": "referred-by", "o": "event", "e": "content-encoding", "s": "subject",
}  # fmt: skip
_TAG = re.compile(r";\s*tag=([^;>\s]+)", re.IGNORECASE)
_USER = re.compile(r"^(?:sips?:(?://)?(?:([^@;?]*)@)|tel:([^;?]*))", re.IGNORECASE)
Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response. Names of headers are long and lower case; lists stay as they were written."""

    start: str
    headers: tuple[Header, ...]
    body: bytes = b""

    @property
    def method(self) -> str:
        """Of a request; "" for a response."""
        return "" if self.start.startswith("SIP/2.0 ") else self.start.partition(" ")[0]

    @property
    def uri(self) -> str:
        """Of a request."""
        return "" if not self.method else self.start.split(" ")[1]

    @property
    def code(self) -> int:
        """Of a response; 0 for a request."""
        return 0 if self.method else int(self.start.split(" ")[1])

    @property
    def reason(self) -> str:
        """Of a response, in words."""
        return "" if self.method else self.start.partition(" ")[2].partition(" ")[2]

    def first(self, name: str) -> str:
        """The first of that name (lower case); "" without one."""
        return next((value for known, value in self.headers if known == name), "")

    def every(self, name: str) -> tuple[Header, ...]:
        """All of that name, as they stand."""
        return tuple(header for header in self.headers if header[0] == name)

    @property
    def branch(self) -> str:
        """Of the topmost Via."""
        found = re.search(r";\s*branch=([^;,\s]+)", self.first("via"), re.IGNORECASE)
        return found[1] if found else ""

    @property
    def cseq(self) -> tuple[int, str]:
        """Number and method."""
        number, _, method = self.first("cseq").partition(" ")
        return int(number) if number.isdecimal() else 0, method.strip()

    @property
    def call_id(self) -> str:
        """Of the dialog."""
        return self.first("call-id")


def parse(data: bytes) -> Message:
    """One whole message. Raises ValueError."""
    head, gap, body = data.partition(b"\r\n\r\n")
    if not gap:
        raise ValueError("no end of the headers")
    lines = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "replace")).split("\r\n")
    start = lines[0].split(" ", 2)
    if len(start) < 3 or ("SIP/2.0" not in (start[0], start[2])):
        raise ValueError(f"no SIP: {lines[0][:80]!r}")
    if start[0] == "SIP/2.0" and not (len(start[1]) == 3 and start[1].isdecimal()):
        raise ValueError(f"no status: {lines[0][:80]!r}")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"no header: {line[:80]!r}")
        low = name.strip().lower()
        headers.append((_LONG.get(low, low), value.strip()))
    message = Message(lines[0], tuple(headers), body)
    if not all(message.first(name) for name in ("via", "from", "to", "call-id", "cseq")):
        raise ValueError("one of Via, From, To, Call-ID, CSeq is missing")
    length = message.first("content-length")
    return message if not length.isdecimal() else Message(lines[0], tuple(headers), body[: int(length)])


def render(start: str, headers: Iterable[Header], body: bytes = b"") -> bytes:
    """A message as it goes out; Content-Length is added."""
    lines = [start, *(f"{name}: {value}" for name, value in headers), f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def response(
    request: Message, code: int, reason: str, more: Sequence[Header] = (), body: bytes = b"", tag: str = ""
) -> bytes:
    """To a request (RFC 3261 8.2.6); tag: ours, for To, where it has none yet."""
    to = request.first("to")
    if tag and code > 100 and not tag_of(to):
        to += f";tag={tag}"
    kept = [*request.every("via"), *request.every("record-route")]
    same = [(name, request.first(name)) for name in ("from", "call-id", "cseq")]
    kind = [("Content-Type", "application/sdp")] if body else []
    return render(f"SIP/2.0 {code} {reason}", [*kept, ("To", to), *same, *more, *kind], body)


def tag_of(address: str) -> str:
    """Of a From or To; "" without one."""
    found = _TAG.search(address)
    return found[1] if found else ""


def uri_of(address: str) -> str:
    """What stands between < and >, or before the parameters."""
    if "<" in address:
        return address.partition("<")[2].partition(">")[0]
    return address.partition(";")[0].strip()


def user_of(uri: str) -> str:
    """Number or name of an address; "" for a host alone."""
    found = _USER.match(uri)
    user = (found[1] or found[2] or "") if found else ""
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda hit: chr(int(hit[1], 16)), user.partition(";")[0].partition(":")[0])


def host_port(uri: str, default: int = 5060) -> tuple[str, int]:
    """Where an address is reached. Raises ValueError for a host or a port that is none."""
    rest = uri.partition(":")[2] if uri.lower().startswith(("sip:", "sips:")) else uri
    rest = rest.rpartition("@")[2].partition(";")[0].partition("?")[0]
    host, _, port = rest.rpartition(":") if rest.count(":") == 1 or "]:" in rest else (rest, "", "")
    number = int(port) if port else default
    if not host or not 0 < number <= 65_535:
        raise ValueError(f"{uri}: no host, or no port")
    return host.strip("[]"), number


class Framer:
    """Messages out of a stream (RFC 3261 18.3): Content-Length says where each ends."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Whole messages so far. Raises ValueError when this can come to none."""
        self._held += data
        found = []
        while True:
            self._held = self._held.lstrip(b"\r\n")
            at = self._held.find(b"\r\n\r\n")
            if at < 0:
                break
            length = re.search(rb"(?:^|\r\n)(?:content-length|l)[ \t]*:[ \t]*(\d+)", self._held[:at], re.IGNORECASE)
            whole = at + 4 + (int(length[1]) if length else 0)
            if len(self._held) < whole:
                break
            found.append(self._held[:whole])
            self._held = self._held[whole:]
        if len(self._held) > MOST_BYTES:
            raise ValueError("a message without an end")
        return found
