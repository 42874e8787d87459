"""The messages of RFC 4475, made from what the RFC says of each: section, what is odd about it, what is right to say.
Here the valid ones (3.1.1); the others are in `sip_rfc4475_wrong.py`.

The bytes are ours, not the RFC's: each carries the fact it is there for, with addresses as RFC 4475 uses them (of
192.0.2.0/24, and example names), so they belong into a network namespace with loopback alone. `SAYS` stands for
whatever the agent's side says of a call that reaches it; `NOTHING` for no answer at all.
"""

from dataclasses import dataclass
from typing import Final

SAYS: Final = 486  # what the rig's worker answers to an offer
NOTHING: Final = 0
SDP: Final = (
    b"v=0\r\no=mhandley 29739 7272939 IN IP4 192.0.2.3\r\ns=-\r\nc=IN IP4 192.0.2.4\r\nt=0 0\r\n"
    b"m=audio 49217 RTP/AVP 0 12\r\nm=video 3227 RTP/AVP 31\r\na=rtpmap:31 LPC\r\n"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One of them. `right`: codes that are right over UDP; `stream`: over TCP, where that differs."""

    name: str
    section: str
    odd: str
    data: bytes
    right: frozenset[int]
    stream: frozenset[int] | None = None

    def over_tcp(self) -> bytes:
        """The topmost Via names the transport."""
        return self.data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1)

    @property
    def right_over_tcp(self) -> frozenset[int]:
        return self.right if self.stream is None else self.stream


def joined(start: str | bytes, headers: list[str | bytes], body: bytes) -> bytes:
    lines = [start, *headers]
    coded = [line if isinstance(line, bytes) else line.encode("utf-8") for line in lines]
    return b"\r\n".join(coded) + b"\r\n\r\n" + body


def request(
    name: str,
    start: str | bytes,
    *more: str | bytes,
    body: bytes = b"",
    leave: tuple[str, ...] = (),
    length: str | None = None,
) -> bytes:
    """A request with the headers that every one must have, but those in `leave`. length: Content-Length, as it is."""
    method = (start if isinstance(start, bytes) else start.encode()).split()[0].decode()
    usual = {
        "Via": f"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-{name}",
        "Max-Forwards": "70",
        "From": f"<sip:caller@example.net>;tag={name}-1",
        "To": "<sip:user@example.com>",
        "Call-ID": f"{name}.tortured@example.org",
        "CSeq": f"1 {method}",
        "Contact": "<sip:caller@192.0.2.1>",
        "Content-Length": str(len(body)) if length is None else length,
    }
    kept: list[str | bytes] = [f"{key}: {value}" for key, value in usual.items() if key not in leave]
    return joined(start, [*kept, *more], body)


def response(name: str, start: str | bytes, *more: str, via: str = "", cseq: str = "35 INVITE") -> bytes:
    """One that nobody asked for."""
    return joined(
        start,
        [
            f"Via: {via or f'SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK-{name}'}",
            f"From: <sip:user@example.com>;tag={name}",
            "To: <sip:watson@example.org>;tag=them",
            f"Call-ID: {name}.tortured@example.org",
            f"CSeq: {cseq}",
            "Contact: <sip:user@host105.example.com>",
            *more,
            "Content-Length: 0",
        ],
        b"",
    )


INVITE: Final = "INVITE sip:user@example.com SIP/2.0"
OPTIONS: Final = "OPTIONS sip:user@example.com SIP/2.0"
REGISTER: Final = "REGISTER sip:example.com SIP/2.0"
TYPED: Final = "Content-Type: application/sdp"


def _tortuous() -> bytes:
    """Every liberty of 7.3.1 at once: folding, compact names, odd case, space before colons, values in odd places."""
    head = (
        b"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
        b"TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
        b'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
        b"MaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.tortured@192.0.2.1\r\nContent-Length   : %d\r\n"
        b"cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=z9hG4bK-wsinv\r\ns :\r\n"
        b"NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
        b"UnknownHeaderWithUnusualValue: ;;,,;;,;\r\nContent-Type: application/sdp\r\n"
        b"Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP  /    2.0   / UDP  192.0.2.255   ; branch=\r\n z9hG4bK30239\r\n"
        b'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
        b"  secondparam ; q = 0.33\r\n\r\n"
    )
    return head % len(SDP) + SDP


def _multipart() -> bytes:
    edge = b"7a9cbec02ceef655"
    body = (
        b"--%b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\nHello\r\n--%b\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n%b\r\n--%b--\r\n"
    ) % (edge, edge, bytes(range(256)), edge)
    kind = f'Content-Type: multipart/mixed;boundary="{edge.decode()}"'
    return request("mpart01", "MESSAGE sip:kumiko@example.org SIP/2.0", kind, body=body)


def _long() -> bytes:
    name, host = "I have a user name of extreme" + " proportion" * 40, "example" * 60 + ".example.com"
    vias = [f"Via: SIP/2.0/TCP sip{at}.example.com" for at in range(33, 0, -1)]
    return request(
        "longreq",
        INVITE,
        *vias,
        f'To: "{name}" <sip:user@example.com:6000;unknownparam1=very{"long" * 30}value;longparam{"name" * 40}=short>',
        f"From: sip:amazinglylongcaller{'name' * 60}@example.net;tag=12{'982' * 60}424;unknown{'param' * 60}name=value",
        f"Call-ID: longreq.one{'really' * 60}longcallid",
        f"Unknown-{'Long' * 60}-Name: unknown-{'long' * 60}-value; with-{'long' * 30}-parameter={'long' * 60}",
        f"Contact: <sip:amazinglylongcallername{'name' * 60}@host5.{host}>",
        TYPED,
        body=SDP,
        leave=("To", "From", "Call-ID", "Contact"),
    )


def _two() -> bytes:
    return request("dblreq", REGISTER) + request("dblreq-second", INVITE, TYPED, body=SDP)


def case(name: str, section: str, odd: str, data: bytes, *right: int, tcp: tuple[int, ...] | None = None) -> Message:
    return Message(name, section, odd, data, frozenset(right), None if tcp is None else frozenset(tcp))


def made(name: str, start: str | bytes, *more: str | bytes, **fields: object) -> bytes:
    return request(name, start, *more, **fields)  # type: ignore[arg-type]


VALID: Final = (
    case("wsinv", "3.1.1.1", "a short tortuous INVITE, with a tag of no call that we know", _tortuous(), 481),
    case(
        "intmeth",
        "3.1.1.2",
        "every character that a method, a user, a header's name may have",
        made(
            "intmeth",
            "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:"
            "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
            'To: "BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)@example.com>',
            "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"работающий\";"
            "tag=_token~1'+`*%!-.",
            "extensionHeader-!.%*+_`'~: 大停電",
            leave=("To", "From"),
        ),
        501,
        405,
    ),
    case(
        "esc01",
        "3.1.1.3",
        "escapes in the user part",
        made("esc01", "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", TYPED, body=SDP),
        SAYS,
    ),
    case(
        "escnull",
        "3.1.1.4",
        "escaped nulls in addresses",
        made("escnull", REGISTER, "Contact: <sip:%00@host5.example.com>", "Contact: <sip:%00%00@host5.example.com>"),
        405,
    ),
    case(
        "esc02", "3.1.1.5", "a % that escapes nothing", made("esc02", "RE%47IST%45R sip:example.com SIP/2.0"), 501, 405
    ),
    case(
        "lwsdisp",
        "3.1.1.6",
        "no space between name and <",
        made("lwsdisp", OPTIONS, "From: caller<sip:caller@example.com>;tag=323", leave=("From",)),
        200,
    ),
    case("longreq", "3.1.1.7", "long values", _long(), SAYS),
    case("dblreq", "3.1.1.8", "a second request in the datagram", _two(), 405),
    case(
        "semiuri",
        "3.1.1.9",
        "semicolons in the user part",
        made("semiuri", "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0"),
        200,
    ),
    case(
        "transports",
        "3.1.1.10",
        "transports known and unknown",
        made(
            "transports",
            OPTIONS,
            "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
            "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
            "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
            "Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee",
        ),
        200,
    ),
    case("mpart01", "3.1.1.11", "a multipart body with every byte there is", _multipart(), 405),
    case(
        "unreason",
        "3.1.1.12",
        "a reason beyond ASCII",
        response("unreason", "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое"),
        NOTHING,
    ),
    case("noreason", "3.1.1.13", "no reason", response("noreason", "SIP/2.0 100 "), NOTHING),
)
