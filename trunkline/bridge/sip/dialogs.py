"""What must be known of a dialog to end it after the process that held it has died, and the requests that do so. Pure.

RFC 3261: a dialog's parts from the messages that made it (12.1), the route a request takes (12.2.1.1), BYE (15), CANCEL
(9.1), which repeats the INVITE's own Via.
"""

import re
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline.bridge.sip.sip_text import Address, SipText, host_port, parameter

_ADDED: Final = re.compile(r";\s*(received|rport)=[^;,\s]*", re.IGNORECASE)  # by who received it
BEYOND: Final = 40_000  # added to the last CSeq known: pjsip begins below 32,768 and may have sent requests since


class Dialog(msgspec.Struct, frozen=True, tag="up"):
    """A call that has been answered."""

    call_id: str
    local: str  # our From in a request, with its tag
    remote: str  # our To, with the far end's tag
    target: str  # its Contact
    routes: tuple[str, ...] = ()
    cseq: int = 0
    transport: str = "udp"
    source: str = ""  # where its INVITE came from, "ADDRESS:PORT"


class Invite(msgspec.Struct, frozen=True, tag="invite"):
    """An INVITE of ours without a final answer."""

    call_id: str
    local: str = ""
    remote: str = ""
    target: str = ""  # request URI
    routes: tuple[str, ...] = ()
    cseq: int = 0
    transport: str = "udp"
    via: str = ""  # "": not on the wire yet for all we know


class Over(msgspec.Struct, frozen=True, tag="over"):
    """Nothing is owed to anybody any more."""

    call_id: str


Record: TypeAlias = Dialog | Invite | Over


def called(invite: SipText, later: SipText, source: str) -> Dialog:
    """The dialog of a call to us. later: our 200, or its ACK."""
    return Dialog(
        call_id=invite.first("call-id"),
        local=later.first("to"),
        remote=invite.first("from"),
        target=_target(invite),
        routes=invite.all("record-route"),
        transport=invite.transport or "udp",
        source=source,
    )


def placed(answer: SipText) -> Dialog:
    """The dialog of a call of ours, from its 2xx."""
    return Dialog(
        call_id=answer.first("call-id"),
        local=answer.first("from"),
        remote=answer.first("to"),
        target=_target(answer),
        routes=answer.all("record-route")[::-1],
        cseq=answer.cseq,
        transport=answer.transport or "udp",
    )


def invited(request: SipText) -> Invite:
    """What a CANCEL needs, from our INVITE as it went out."""
    return Invite(
        call_id=request.first("call-id"),
        local=request.first("from"),
        remote=request.first("to"),
        target=request.request_uri,
        routes=request.all("route"),
        cseq=request.cseq,
        transport=request.transport or "udp",
        via=request.first("via"),
    )


def ringing(invite: Invite, answer: SipText) -> Invite:
    """By its 1xx, which repeats the Via that arrived: a large INVITE that no TCP took has gone by UDP after all."""
    via = _ADDED.sub(_bare, (answer.all("via") or (invite.via,))[0])
    return msgspec.structs.replace(invite, via=via, transport=answer.transport or invite.transport)


def _bare(added: re.Match[str]) -> str:
    return ";rport" if added[1].lower() == "rport" else ""


def _target(text: SipText) -> str:
    contacts = text.all("contact")
    return Address.of(contacts[0]).uri if contacts else ""


Kind: TypeAlias = Literal["udp", "tcp", "tls"]


def next_hop(record: Dialog | Invite) -> tuple[Kind, str, int]:
    """Where a request of that dialog goes: transport, host (name or address), port."""
    uri = Address.of(record.routes[0]).uri if record.routes else record.target
    host, port = host_port(uri)
    said = parameter(uri, "transport") or ("tls" if uri.lower().startswith("sips:") else record.transport)
    kind: Kind = "tls" if said == "tls" else "tcp" if said == "tcp" else "udp"
    return kind, host, port or (5061 if kind == "tls" else 5060)


def bye(dialog: Dialog, via: str, branch: str) -> bytes:
    """via: our address and port as the far end shall answer to; branch: unique, without the cookie."""
    kind, _, _ = next_hop(dialog)
    uri, routes = dialog.target, dialog.routes
    if routes and parameter(Address.of(routes[0]).uri, "lr") is None:  # a strict router: RFC 3261 12.2.1.1
        uri, routes = Address.of(routes[0]).uri, (*routes[1:], f"<{dialog.target}>")
    top = f"SIP/2.0/{kind.upper()} {via};rport;branch=z9hG4bK{branch}"
    return _request("BYE", uri, top, routes, dialog, dialog.cseq + BEYOND)


def cancel(invite: Invite) -> bytes:
    """Of an INVITE that is on the wire."""
    return _request("CANCEL", invite.target, invite.via, invite.routes, invite, invite.cseq)


def _request(method: str, uri: str, via: str, routes: tuple[str, ...], record: Dialog | Invite, cseq: int) -> bytes:
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: {via}",
        "Max-Forwards: 70",
        *(f"Route: {route}" for route in routes),
        f"From: {record.local}",
        f"To: {record.remote}",
        f"Call-ID: {record.call_id}",
        f"CSeq: {cseq} {method}",
        'Reason: SIP ;cause=500 ;text="the gateway was restarted"',
        "Content-Length: 0",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
