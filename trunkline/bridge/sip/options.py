"""What a gateway is told at its start: plain values, filled from `[sip]` by whoever starts it. Pure."""

from typing import Literal, TypeAlias

import msgspec

Transport: TypeAlias = Literal["udp", "tcp", "tls"]
Srtp: TypeAlias = Literal["off", "optional", "mandatory"]


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
    retry_s: int = 20  # after a failed registration
    proxy: str = ""  # outbound proxy, a SIP URI or host[:port]
    transport: Transport = "udp"
    srtp: Srtp = "off"
    networks: tuple[str, ...] = ()  # where its requests come from, beside the addresses of host and proxy
    headers: tuple[str, ...] = ()  # of its INVITEs, told to the workers beside X-…
    identity: Literal["from", "pai", "rpid"] = "from"  # where the caller's number is shown
    keepalive_s: float = 0.0  # OPTIONS so often; 0: none


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    listen: tuple[str, ...] = ("udp 127.0.0.1:5060", "tcp 127.0.0.1:5060")  # "udp|tcp|tls ADDRESS:PORT"
    port_tries: int = 20  # next ports tried when one is taken; 0: none, a taken port is an error
    public_address: str = ""  # told to the far ends instead of our own, behind 1:1 NAT
    rtp_ports: tuple[int, int] = (10_000, 19_999)  # first and last, two per call
    clock_rate: Literal[8000, 16000] = 8000  # Hz of the bridge and of the rings
    max_calls: int = 200
    media_timeout_s: float = 30.0  # without a packet from the far end; 0: never
    offer_s: float = 3.0  # for a worker's answer to an offer
    quality_s: float = 5.0  # between two reports
    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")  # networks that are heard at all; users must authenticate
    users: tuple[User, ...] = ()  # not empty: whoever is no trunk needs credentials
    realm: str = "trunkline"
    trunks: tuple[Trunk, ...] = ()
    srtp: Srtp = "optional"  # of calls that belong to no trunk
    tls_cert: str = ""  # PEM files
    tls_key: str = ""
    tls_ca: str = ""
    tls_verify: bool = True  # of servers that we call
    nameservers: tuple[str, ...] = ()  # (): those of /etc/resolv.conf, once a name is needed
    socket: str = ""  # path of the unix socket for the workers
    journal: str = ""  # path of the dialogs' journal; "": none
    user_agent: str = "Trunkline"
    log_level: int = 2  # of pjsip: 1 errors … 5
