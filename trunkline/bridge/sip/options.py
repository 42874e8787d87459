"""What a gateway is told at its start: plain values, filled from `[sip]` by whoever starts it. Pure."""

from typing import Final, Literal, TypeAlias

import msgspec

from trunkline.config import Sip, SipTrunk

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
Transport: TypeAlias = Literal["udp", "tcp", "tls"]
Srtp: TypeAlias = Literal["off", "optional", "required"]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who may call us with credentials."""

    name: str
    password: str


class Trunk(msgspec.Struct, frozen=True, kw_only=True):
    """A carrier or a PBX that we call through, are called from, or both."""

    name: str
    host: str  # domain or address, with ":port" where it is not the usual one
    user: str = ""  # our number or extension there
    auth_user: str = ""  # "": as user
    password: str = ""
    register: bool = False
    register_s: int = 300  # asked for
    proxy: str = ""  # outbound proxy, a SIP URI or host[:port]
    transport: Transport = "udp"
    srtp: Srtp = "off"
    allow: tuple[str, ...] = ()  # networks that its requests come from, beside the addresses of host and proxy
    headers: tuple[tuple[str, str], ...] = ()  # of every INVITE that we send it
    keep_headers: tuple[str, ...] = ()  # names, of its INVITEs, told to the workers beside X-…
    caller: str = ""  # shown where a call names none; "": user
    identity: Literal["from", "pai", "ppi", "rpid"] = "from"  # where the caller's number is shown
    privacy: bool = False  # the callee must not see it
    keepalive_s: float = 0.0  # OPTIONS so often; 0: none
    codecs: tuple[str, ...] = ()  # of our offers, best first; (): the gateway's
    dtmf: Literal["auto", "rfc4733", "info", "inband"] = "auto"
    timer_s: int = 1800  # session timer; 0: none
    refer: bool = True  # it understands REFER


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    listen: tuple[str, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")  # udp:, tcp: or tls:ADDRESS:PORT
    port_tries: int = 20  # next ports tried when one is taken; 0: none, a taken port is an error
    public_address: str = ""  # told to the far ends instead of our own, behind 1:1 NAT
    rtp_ports: tuple[int, int] = (10_000, 19_999)  # first and last, two per call
    clock_rate: Literal[8000, 16000] = 8000  # Hz of the bridge and of the rings
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722", "L16")  # best first; no others
    jitter_ms: int = 400  # most that a jitter buffer holds
    conceal: bool = True  # lost packets are filled in
    timer_s: int = 1800  # session timer of calls that belong to no trunk; 0: none
    max_calls: int = 200
    media_timeout_s: float = 30.0  # without a packet from the far end; 0: never
    refer_s: float = 60.0  # from the far end's 202 to our REFER to its last word about it
    offer_s: float = 3.0  # for a worker's answer to an offer
    quality_s: float = 5.0  # between two reports
    allow: tuple[str, ...] = LOOPBACK  # networks that need no credentials
    allow_transfer_to: tuple[str, ...] = ()  # who may be called because a far end asks for it (REFER)
    users: tuple[User, ...] = ()  # who may call from anywhere; (): strangers are not heard at all
    realm: str = "trunkline"
    algorithms: tuple[str, ...] = ("MD5", "SHA-256")  # in this order: digest.py
    trunks: tuple[Trunk, ...] = ()
    srtp: Srtp = "optional"  # of calls that belong to no trunk
    tls_cert: str = ""  # PEM files
    tls_key: str = ""
    tls_ca: str = ""  # authorities of servers that we call; "": not checked
    nameservers: tuple[str, ...] = ()  # (): those of /etc/resolv.conf, once a name is needed
    socket: str = ""  # path of the unix socket for the workers
    journal: str = ""  # path of the dialogs' journal; "": none
    user_agent: str = "Trunkline"
    log_level: int = 2  # of pjsip: 1 errors … 5


def options_of(sip: Sip, socket: str, journal: str) -> Options:
    """Of `[sip]`, which has been checked. Loopback may call while nothing else is listened on."""
    first, _, last = sip.rtp_ports.partition("-")
    here = all(spec.split(":", 1)[1].startswith(("127.", "localhost", "[::1]")) for spec in sip.listen)
    return Options(
        listen=sip.listen,
        public_address=sip.public_address,
        rtp_ports=(int(first), int(last)),
        clock_rate=16_000 if sip.clock_rate == 16_000 else 8000,
        codecs=sip.codecs,
        jitter_ms=sip.jitter_ms,
        conceal=sip.conceal,
        timer_s=sip.timer_s,
        max_calls=sip.max_calls,
        media_timeout_s=sip.media_timeout_s,
        allow=(*sip.allow, *(LOOPBACK if here else ())),
        allow_transfer_to=sip.allow_transfer_to,
        users=tuple(User(name=user.name, password=user.password) for user in sip.user),
        trunks=tuple(_trunk_of(trunk) for trunk in sip.trunk),
        srtp=sip.srtp,
        algorithms=sip.algorithms,
        nameservers=sip.nameservers,
        tls_cert=sip.tls_cert,
        tls_key=sip.tls_key,
        tls_ca=sip.tls_ca,
        socket=socket,
        journal=journal,
    )


def _trunk_of(trunk: SipTrunk) -> Trunk:
    pairs = (header.partition(":") for header in trunk.headers)
    return Trunk(
        name=trunk.name,
        host=trunk.host,
        user=trunk.user,
        auth_user=trunk.auth_user,
        password=trunk.password,
        register=trunk.register,
        register_s=trunk.register_s,
        keepalive_s=trunk.keepalive_s,
        proxy=trunk.proxy,
        transport=trunk.transport,
        srtp=trunk.srtp,
        allow=trunk.allow,
        headers=tuple((name.strip(), value.strip()) for name, _, value in pairs),
        keep_headers=trunk.keep_headers,
        caller=trunk.caller,
        identity=trunk.identity,
        privacy=trunk.privacy,
        codecs=trunk.codecs,
        dtmf=trunk.dtmf,
        timer_s=trunk.timer_s,
        refer=trunk.refer,
    )
