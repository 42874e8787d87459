"""Messages that a far end might send, and what can go wrong with them: seeded, the same every time. Pure.

`Forge.make` returns a request or a response with up to three mutations. What belongs into a dialog is filled from it
(`Dialog`), so that states behind the first INVITE are reached; what belongs to none has names of its own.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SDP: Final = (
    "v=0\r\no=u 1 {n} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0 9 101\r\n"
    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
    "a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
)
SAVP: Final = SDP.replace("RTP/AVP", "RTP/SAVP") + (
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\r\n"
)
PARTS: Final = (
    "--edge\r\nContent-Type: application/sdp\r\n\r\n"
    + SDP
    + "\r\n--edge\r\nContent-Type: text/plain\r\n\r\nhello\r\n--edge--\r\n"
)
_CREDENTIALS: Final = (
    'Authorization: Digest username="desk",realm="trunkline",nonce="AAAA",uri="sip:a@b",response="00000000000000000000'
    '000000000000",algorithm=SHA-256,cnonce="1",qop=auth,nc=00000001'
)
# method, headers beside the usual, kind of body, body
KINDS: Final[tuple[tuple[str, tuple[str, ...], str, str], ...]] = (
    ("INVITE", (), "application/sdp", SDP),
    ("INVITE", ("Supported: timer, 100rel", "Session-Expires: 1800", "Min-SE: 90"), "application/sdp", SDP),
    ("INVITE", (), "multipart/mixed;boundary=edge", PARTS),
    ("INVITE", (), "application/sdp", SAVP),
    ("INVITE", (_CREDENTIALS,), "application/sdp", SDP),
    ("INVITE", ("Replaces: 1@x;to-tag=a;from-tag=b",), "application/sdp", SDP),
    ("INVITE", ('P-Asserted-Identity: "A" <sip:+1@x>, <tel:+1>', "Privacy: id", "X-Case: 1"), "application/sdp", SDP),
    ("INVITE", (), "", ""),
    ("OPTIONS", ("Accept: application/sdp",), "", ""),
    ("ACK", (), "", ""),
    ("ACK", (), "application/sdp", SDP),
    ("CANCEL", ('Reason: SIP;cause=200;text="x"',), "", ""),
    ("REGISTER", ("Expires: 60", _CREDENTIALS), "", ""),
    ("REFER", ("Refer-To: <sip:b@127.0.0.1:9?Replaces=x%3Bto-tag%3D1>", "Referred-By: <sip:a@b>"), "", ""),
    ("NOTIFY", ("Event: refer", "Subscription-State: active;expires=60"), "message/sipfrag", "SIP/2.0 200 OK\r\n"),
    ("SUBSCRIBE", ("Event: presence", "Expires: 60"), "", ""),
    ("INFO", (), "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
    ("UPDATE", ("Session-Expires: 90;refresher=uas",), "application/sdp", SDP),
    ("PRACK", ("RAck: 1 1 INVITE",), "", ""),
    ("MESSAGE", (), "text/plain", "hello\r\n"),
    ("BYE", ("Reason: Q.850;cause=16",), "", ""),
)  # fmt: skip
HUGE: Final = (0, -1, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**63, 10**40)


@dataclass(frozen=True, slots=True)
class Dialog:
    """Of a call that is up; the address is where its caller listens."""

    call_id: str
    own_tag: str
    tag: str


class Forge:
    """One seed's messages, one after the other. `host`: the sender's; rport is always asked for."""

    def __init__(self, seed: int, host: str = "127.0.0.1") -> None:
        self.chance = random.Random(seed)
        self._host = host
        self._number = 0

    @property
    def cseq(self) -> int:
        """Of the message that was made last."""
        return 100 + self._number

    def make(self, dialog: Dialog | None, transport: str = "UDP") -> tuple[str, bytes]:
        """What was done to it, and the message."""
        self._number += 1
        if self.chance.random() < 0.1:
            data, name = self._response(dialog, transport), "response"
        else:
            kind = self.chance.choice(KINDS)
            data, name = self._request(kind, dialog, transport), kind[0]
        done = [name]
        for _ in range(self.chance.choice((0, 1, 1, 1, 2, 3))):
            how = self.chance.choice(MUTATIONS)
            data = how(self.chance, data)
            done.append(how.__name__.strip("_"))
        return "+".join(done), data

    def _headers(self, method: str, dialog: Dialog | None, transport: str) -> list[str]:
        number, host = self._number, self._host
        call = dialog.call_id if dialog else f"mutant{number}"
        return [
            f"Via: SIP/2.0/{transport} {host};rport;branch=z9hG4bK-m{number}",
            "Max-Forwards: 70",
            f'From: "Mutant" <sip:mutant@{host}>;tag={dialog.own_tag if dialog else number}',
            "To: <sip:agent@127.0.0.1>" + (f";tag={dialog.tag}" if dialog else ""),
            f"Call-ID: {call}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:mutant@{host}:9>",
        ]

    def _request(self, kind: tuple[str, tuple[str, ...], str, str], dialog: Dialog | None, transport: str) -> bytes:
        method, more, typed, body = kind
        body = body.replace("{n}", str(self._number))
        lines = [f"{method} sip:agent@127.0.0.1 SIP/2.0", *self._headers(method, dialog, transport), *more]
        lines += [f"Content-Type: {typed}"] if typed else []
        return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]) + body).encode()

    def _response(self, dialog: Dialog | None, transport: str) -> bytes:
        code = self.chance.choice((100, 180, 183, 200, 202, 302, 401, 407, 422, 481, 486, 500, 503, 603))
        method = self.chance.choice(("INVITE", "OPTIONS", "BYE", "REGISTER", "NOTIFY"))
        body = SDP.replace("{n}", "1") if code in (183, 200) else ""
        lines = [f"SIP/2.0 {code} Whatever", *self._headers(method, dialog, transport)]
        lines += ['WWW-Authenticate: Digest realm="x",nonce="y",algorithm=MD5,qop="auth"'] if code == 401 else []
        lines += ["Content-Type: application/sdp"] if body else []
        return ("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]) + body).encode()


# -- mutations: each takes the chance and the message, and returns another


def _flipped(chance: random.Random, data: bytes) -> bytes:
    """A few bits."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _replaced(chance: random.Random, data: bytes) -> bytes:
    """A run of bytes by others."""
    at = chance.randrange(len(data) + 1)
    run = bytes(chance.randrange(256) for _ in range(chance.randint(1, 24)))
    return data[:at] + run + data[at + chance.randint(0, 24) :]


def _cut(chance: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: chance.randrange(1, len(data) + 1)] if data else data


def _lines(data: bytes) -> list[bytes]:
    return data.split(b"\r\n")


def _line_doubled(chance: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    at = chance.randrange(len(lines))
    return b"\r\n".join([*lines[:at], *[lines[at]] * chance.choice((2, 2, 3, 200)), *lines[at + 1 :]])


def _line_removed(chance: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    del lines[chance.randrange(len(lines))]
    return b"\r\n".join(lines)


def _line_huge(chance: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    at = chance.randrange(len(lines))
    filling = chance.choice(
        (b"a", b"0", b";x=y", b",", b"<", b'"', b"%41", b" ", b"(", b"\xf0\x9f\x93\x9e", b"[::", b"1.")
    )
    lines[at] += filling * (chance.choice((300, 3000, 14_000)) // len(filling))
    return b"\r\n".join(lines)


def _lines_swapped(chance: random.Random, data: bytes) -> bytes:
    lines = _lines(data)
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\r\n".join(lines)


def _number(chance: random.Random, data: bytes) -> bytes:
    """One by another, far out."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return data
    hit = chance.choice(found)
    return data[: hit.start()] + str(chance.choice(HUGE)).encode() + data[hit.end() :]


def _line_ends(chance: random.Random, data: bytes) -> bytes:
    ends = chance.choice((b"\n", b"\r", b"\n\r", b"\r\n ", b"\r\n\r\n", b"\0"))
    where = chance.choice((-1, 1, 3))
    return data.replace(b"\r\n", ends, where)


def _text(chance: random.Random, data: bytes) -> bytes:
    """Characters that are none, or none of ours."""
    what = chance.choice(
        (b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "電話".encode(), b"\0", b"\x7f", b"\\")
    )
    at = chance.randrange(len(data) + 1)
    return data[:at] + what * chance.choice((1, 1, 40)) + data[at:]


def _length(chance: random.Random, data: bytes) -> bytes:
    """A lie about the body's length."""
    lie = str(chance.choice((*HUGE, 1, 17, 120, 15_900, 16_000))).encode()
    return re.sub(rb"Content-Length: [^\r\n]*", lambda _: b"Content-Length: " + lie, data)


def _sdp(chance: random.Random, data: bytes) -> bytes:
    """A description that is broken."""
    broken: tuple[tuple[bytes, bytes], ...] = (
        (b"v=0", b"\r\n\r\n"),
        (b"v=0\r\n", b""),
        (b"c=IN IP4 127.0.0.1", b"c=IN IP4 999.999.999.999"),
        (b"c=IN IP4", b"c=IN IP6"),
        (b"IN IP4 127.0.0.1", b"IN IP4 host.invalid"),
        (b"m=audio 9", b"m=audio 65536"),
        (b"m=audio 9", b"m=audio 0"),
        (b"m=audio 9", b"m=audio 9/99999"),
        (b"RTP/AVP 8", b"RTP/AVP " + b"8 " * 200),
        (b"RTP/AVP 8 0 9 101", b"RTP/AVP 128 -1 300"),
        (b"a=rtpmap:8 PCMA/8000", b"a=rtpmap:8 PCMA/0"),
        (b"a=rtpmap:8 PCMA/8000", b"a=rtpmap:8"),
        (b"a=rtpmap:8 PCMA/8000", b"a=rtpmap:8 PCMA/4294967296/99"),
        (b"a=fmtp:101 0-15", b"a=fmtp:101 " + b"0-15," * 300),
        (b"a=ptime:20", b"a=ptime:0"),
        (b"a=ptime:20", b"a=ptime:99999999"),
        (b"a=sendrecv", b"a=sendrecv\r\na=inactive\r\n" + b"m=audio 9 RTP/AVP 8\r\n" * 30),
        (b"a=sendrecv", b"a=candidate:1 1 UDP 1 127.0.0.1 9 typ host\r\na=ice-ufrag:x\r\na=ice-pwd:y"),
        (b"inline:", b"inline:\xff"),
        (b"inline:MDEy", b"inline:" + b"M" * 2000),
        (b"a=", b"a"),
        (b"t=0 0\r\n", b""),
    )  # fmt: skip
    old, new = chance.choice(broken)
    return data.replace(old, new, chance.choice((1, -1)))


def _token(chance: random.Random, data: bytes) -> bytes:
    """A piece of grammar in a place where it does not belong."""
    what = chance.choice(
        (b"<", b">", b'"', b";", b",", b"@", b":", b"=", b"?", b"%", b"%0", b"%00", b"[", b"]", b"(", b"\t", b"//",
         b"sip:", b"tel:", b";lr", b";maddr=host.invalid", b";transport=tcp", b";ttl=999", b";received=", b";tag=",
         b";branch=", b"SIP/2.0")
    )  # fmt: skip
    at = chance.randrange(len(data) + 1)
    return data[:at] + what + data[at:]


MUTATIONS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flipped, _replaced, _cut, _line_doubled, _line_removed, _line_huge, _lines_swapped, _number, _line_ends, _text,
    _length, _sdp, _sdp, _token,
)  # fmt: skip
