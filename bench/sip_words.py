"""SIP as a bench's caller speaks it: requests and answers as text, over UDP, within one dialog. Pure."""

import secrets
from dataclasses import dataclass, field

from trunkline.bridge.sip.sip_text import Address, SipText

PTIME_MS = 20
PCMU = "0"


def code_of(text: SipText) -> int:
    """Of an answer; 0 for a request."""
    words = text.start.split(" ", 2)
    return int(words[1]) if words[0].startswith("SIP/") and len(words) > 1 and words[1].isdecimal() else 0


def method_of(text: SipText) -> str:
    """Of a request, or of the request that this answers."""
    return text.first("cseq").rpartition(" ")[2] if code_of(text) else text.method


def media_of(text: SipText) -> tuple[str, int] | None:
    """Where the other side wants its audio; None without an audio line, or with port 0."""
    host, port = "", 0
    for line in text.body.splitlines():
        if line.startswith("c=IN IP4 "):  # of the whole, or of its only media
            host = line.split()[2]
        elif line.startswith("m=audio "):
            port = int(line.split()[1])
    return (host, port) if host and port else None


def sdp(host: str, port: int, *, way: str = "sendrecv", version: int = 1, payloads: str = PCMU) -> str:
    """One audio line, mu-law and telephone-event. way: sendrecv, sendonly (we hold the other side), inactive."""
    lines = [
        "v=0", f"o=bench 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0",
        f"m=audio {port} RTP/AVP {payloads} 101", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15", f"a=ptime:{PTIME_MS}", f"a={way}",
    ]  # fmt: skip
    return "\r\n".join(lines) + "\r\n"


@dataclass(slots=True)
class Dialog:
    """The caller's side of one call. here, there: HOST:PORT; caller, callee: users of From and To."""

    caller: str
    callee: str
    here: str
    there: str
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    to: str = ""  # the other side's To with its tag, once it has answered
    target: str = ""  # its Contact
    cseq: int = 0
    _branch: str = ""  # of the INVITE that is on its way

    def invite(self, body: str) -> str:
        """The first one, or one within the call."""
        self.cseq += 1
        self._branch = _branch()
        return self._request("INVITE", self.cseq, self._branch, body)

    def ack(self, *, refused: bool = False) -> str:
        """Of the last INVITE; of a refusal it belongs to the same transaction."""
        return self._request("ACK", self.cseq, self._branch if refused else _branch())

    def cancel(self) -> str:
        """Of the INVITE that has had no final answer."""
        return self._request("CANCEL", self.cseq, self._branch)

    def request(self, method: str, body: str = "", kind: str = "application/sdp", *more: str) -> str:
        """A new one within the call. more: headers."""
        self.cseq += 1
        return self._request(method, self.cseq, _branch(), body, kind, more)

    def learn(self, answer: SipText) -> None:
        """What an answer to an INVITE tells of the other side."""
        if code_of(answer) > 100:
            self.to = answer.first("to")
            self.target = Address.of(answer.first("contact")).uri or self.target

    def _request(
        self, method: str, cseq: int, branch: str, body: str = "", kind: str = "application/sdp",
        more: tuple[str, ...] = (),
    ) -> str:  # fmt: skip
        first = f"sip:{self.callee}@{self.there}"
        uri = self.target if self.target and method != "CANCEL" else first
        to = self.to if self.to and method != "CANCEL" else f"<{first}>"
        lines = [
            f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {self.here};branch={branch};rport", "Max-Forwards: 70",
            f"From: <sip:{self.caller}@{self.here}>;tag={self.tag}", f"To: {to}", f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}", f"Contact: <sip:{self.caller}@{self.here}>", *more,
            *([f"Content-Type: {kind}"] if body else []), f"Content-Length: {len(body)}",
        ]  # fmt: skip
        return "\r\n".join([*lines, "", body])


def answer(request: SipText, code: int, reason: str) -> str:
    """To a request within a call: To has its tag already."""
    kept = [("Via", "via"), ("From", "from"), ("To", "to"), ("Call-ID", "call-id"), ("CSeq", "cseq")]
    lines = [f"{name}: {value}" for name, key in kept for known, value in request.headers if known == key]
    return "\r\n".join([f"SIP/2.0 {code} {reason}", *lines, "Content-Length: 0", "", ""])


def _branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)
