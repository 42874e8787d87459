"""Reading a SIP message's text: headers, addresses, the codecs of an offer. Pure, forgiving, bounded.

pjsip has parsed the message already and accepted it; this picks from its text what pjsua2 does not tell. RFC 3261
sections 7.3 (headers, folding, compact forms) and 20; RFC 4566 for the body.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from trunkline.bridge.sip.messages import MOST_HEADERS

MOST_VALUE: Final = 2048  # characters of a header that is told
MOST_REASON: Final = 200  # characters of why a call ended
_COMPACT: Final = {
    "i": "call-id", "m": "contact", "f": "from", "t": "to", "v": "via", "l": "content-length", "c": "content-type",
    "k": "supported", "s": "subject", "e": "content-encoding", "r": "refer-to", "b": "referred-by", "o": "event",
}  # fmt: skip
STATIC: Final = {"0": "PCMU/8000", "3": "GSM/8000", "8": "PCMA/8000", "9": "G722/8000", "18": "G729/8000"}
_WITHHELD: Final = frozenset({"", "anonymous", "restricted", "unavailable", "unknown", "withheld"})
_TAG = re.compile(r";\s*tag\s*=\s*([^;>\s]+)", re.IGNORECASE)
_QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"')
_URI = re.compile(r"^(sips?|tel):(?://)?(?:([^@;?]*)@)?([^;?>]*)", re.IGNORECASE)


def clean(text: str) -> str:
    """Bytes that are no UTF-8 reach us as lone surrogates, which no encoder takes: they become U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class SipText:
    """A message: its first line, headers in order with lower-case long names, and the body."""

    start: str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    names: dict[str, str] = field(default_factory=dict)  # lower case → as it was written

    @classmethod
    def of(cls, whole: str) -> "SipText":
        """Whatever can be read of it; never raises."""
        whole = clean(whole)
        head, _, body = whole.replace("\r\n", "\n").partition("\n\n")
        lines = re.sub(r"\n[ \t]+", " ", head).split("\n")
        found: list[tuple[str, str]] = []
        names: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                written = name.strip()
                long = _COMPACT.get(written.lower(), written.lower())
                names.setdefault(long, written)
                found.append((long, value.strip()))
        return cls(lines[0].strip(), tuple(found), body, names)

    def first(self, name: str) -> str:
        """The first header of that name (lower case), "" without one."""
        return next((value for known, value in self.headers if known == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Every value, lists that are separated by commas taken apart."""
        return tuple(part for known, value in self.headers if known == name for part in _split(value))

    @property
    def method(self) -> str:
        """Of a request."""
        return self.start.partition(" ")[0]

    @property
    def request_uri(self) -> str:
        """Of a request, "" for a response."""
        parts = self.start.split(" ")
        return parts[1] if len(parts) == 3 and not self.start.startswith("SIP/") else ""

    @property
    def transport(self) -> str:
        """Of the topmost Via, lower case: udp, tcp, tls."""
        return self.first("via").partition(" ")[0].rpartition("/")[2].strip().lower()

    @property
    def cseq(self) -> int:
        """Its number, 0 when there is none."""
        number = self.first("cseq").partition(" ")[0]
        return int(number) if number.isascii() and number.isdecimal() else 0


def _split(value: str) -> list[str]:
    """A comma between two addresses, not one inside quotes or brackets."""
    parts, depth, quoted, begins = [], 0, False, 0
    for at, character in enumerate(value):
        if character == '"' and not (at and value[at - 1] == "\\"):
            quoted = not quoted
        elif not quoted:
            depth += (character == "<") - (character == ">")
            if character == "," and depth <= 0:
                parts.append(value[begins:at].strip())
                begins = at + 1
    return [part for part in (*parts, value[begins:].strip()) if part]


@dataclass(frozen=True, slots=True)
class Address:
    """`"Display" <sip:user@host>;tag=…`, taken apart."""

    display: str
    uri: str
    tag: str

    @classmethod
    def of(cls, value: str) -> "Address":
        """From, To, Contact, Route, P-Asserted-Identity."""
        quoted = _QUOTED.match(value)
        display, value = (re.sub(r"\\(.)", r"\1", quoted[1]), value[quoted.end() :]) if quoted else ("", value)
        before, bracket, rest = value.partition("<")
        if not bracket:  # without brackets the parameters belong to the header
            uri, _, rest = value.partition(";")
            return cls("", uri.strip(), _tag(";" + rest))
        uri, _, rest = rest.partition(">")
        return cls(display or before.strip(), uri.strip(), _tag(rest))

    @property
    def user(self) -> str:
        """Number or name before the @; the number of a tel URI; "" when it is withheld."""
        found = _URI.match(self.uri)
        if not found:
            return ""
        name = found[3] if found[1].lower() == "tel" else (found[2] or "").partition(":")[0].partition(";")[0]
        return "" if name.lower() in _WITHHELD or found[3].lower() == "anonymous.invalid" else _unescaped(name)


def _tag(rest: str) -> str:
    found = _TAG.search(rest)
    return found[1] if found else ""


def _unescaped(text: str) -> str:
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda hit: chr(int(hit[1], 16)), text)


def host_port(uri: str) -> tuple[str, int]:
    """Host (a name, or an address without brackets) and port of a SIP URI or `host[:port]`; port 0: not said."""
    found = _URI.match(uri)
    rest = (found[3] if found else uri).strip()
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.lstrip(":")
    elif rest.count(":") > 1:
        host, port = rest, ""
    else:
        host, _, port = rest.partition(":")
    return host, int(port) if port.isascii() and port.isdecimal() and int(port) < 65_536 else 0


def parameter(uri: str, name: str) -> str | None:
    """A URI's parameter, lower case; "" for one without a value, None without it."""
    for part in uri.partition("?")[0].split(";")[1:]:
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().lower()
    return None


def able(text: SipText) -> tuple[bool, bool]:
    """Whether its sender may know REFER (Allow does not rule it out), and knows Replaces (Supported, RFC 3891)."""
    allowed = [method.upper() for method in text.all("allow")]
    supported = [name.lower() for name in text.all("supported")]
    return (not allowed or "REFER" in allowed), "replaces" in supported


def told(text: SipText, also: Iterable[str] = ()) -> dict[str, str]:
    """The headers that concern a call's owner: X-…, and those named; first value, by the name as it was written."""
    wanted = {name.lower() for name in also}
    found: dict[str, str] = {}
    for name, value in text.headers:
        written = text.names.get(name, name)
        if (name.startswith("x-") or name in wanted) and written not in found and len(found) < MOST_HEADERS:
            found[written] = value[:MOST_VALUE]
    return found


def caller(text: SipText, *, trusted: bool) -> tuple[str, str]:
    """Number or user, and display name. trusted: a trunk's P-Asserted-Identity (RFC 3325) goes before From."""
    shown = Address.of(text.first("from"))
    asserted = text.all("p-asserted-identity")
    if trusted and asserted:
        sure = Address.of(asserted[0])
        hidden = "id" in text.first("privacy").lower().split(";")
        return ("", "") if hidden else (sure.user or shown.user, sure.display or shown.display)
    return shown.user, shown.display


def last_word(message: SipText, default: str) -> tuple[str, int]:
    """Of what the far end ended a call with: its reason, and for how many seconds it wants to be left alone (0: any).

    A BYE may say why in Reason (RFC 3326), verbatim here; a refusal may have Retry-After (RFC 3261 20.33). default: the
    reason in words of a refusal.
    """
    if message.start.startswith("BYE "):
        return message.first("reason")[:MOST_REASON] or "BYE", 0
    seconds = re.match(r"\d{1,6}(?!\d)", message.first("retry-after"))
    return default, int(seconds[0]) if seconds else 0


def codecs(body: str) -> tuple[str, ...]:
    """Of the first audio stream of an SDP, in its order: "PCMU/8000"; without telephone-event."""
    names, order = dict(STATIC), None
    for line in body.splitlines():
        if line.startswith("m="):
            if order is not None:
                break
            order = line.split()[3:] if line.startswith("m=audio") else None
        elif order is not None and line.startswith("a=rtpmap:"):
            number, _, name = line[9:].strip().partition(" ")
            names[number] = "/".join(name.strip().split("/")[:2])
    found = (names[number] for number in order or () if number in names)
    return tuple(name for name in found if not name.lower().startswith("telephone-event"))[:32]
