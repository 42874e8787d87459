"""One `config.toml`, read once into frozen `Settings`. Parts receive their own piece, never the whole.

The values and their limits; `trunkline.config_load` reads them from file, environment and command line.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec

Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Whole: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Decibels: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=96)]
FilePath: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Profile: TypeAlias = Literal["auto", "gemini", "chain", "offline", "echo"]
Srtp: TypeAlias = Literal["off", "optional", "required"]
Timer: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=86_400)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: an unknown key is an error that names the nearest known one."""


class Server(Section, frozen=True):
    """[server]"""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8006  # 0: any free one
    public_url: str = ""  # https://… as carriers see us; "" = http://host:port
    data_dir: FilePath = "data"  # database, recordings
    tls_cert: str = ""  # PEM files; "" = no TLS of our own
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose forwarding headers are believed
    cors_origins: tuple[str, ...] = ()
    workers: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1  # processes that carry calls; 0: none but this one
    drain_s: Seconds = 30.0  # live calls may finish within this after SIGTERM
    metrics_bind: str = ""  # "host:port" for /metrics alone; "" = on the main port (with a key when not on 127.0.0.1)


class Auth(Section, frozen=True):
    """[auth]"""

    media_token: str = ""  # secret path token of carrier sockets: /media/{carrier}/{token}
    webhook_secret: str = ""  # expected in header X-Webhook-Secret or ?secret=
    allow_unauthenticated: tuple[str, ...] = ()  # bare paths served beyond 127.0.0.1
    allow_carriers_from: tuple[str, ...] = ()  # addresses or networks; empty: from anywhere
    ticket_ttl_s: Seconds = 60.0


class Limits(Section, frozen=True):
    """[limits], enforced outside the AI."""

    max_calls: Whole = 200  # admission over all providers
    longest_call_s: Seconds = 1800.0
    silence_prompt_s: Seconds = 8.0  # nobody spoke: prompt
    silence_prompts: Whole = 2  # then a polite end
    start_timeout_s: Seconds = 10.0  # a media socket that never says `start`
    max_body_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 1 << 20


class Failure(Section, frozen=True):
    """[failure]: what a caller hears, and what becomes of the call, when no AI session can be had."""

    honest_after_s: Seconds = 1.0  # of silence without a session, before the caller is told to wait
    answer_within_s: Seconds = 1.5  # a session that is there owes an answer for so long: the same
    give_up_s: Seconds = 8.0  # without a session for so long: last words, and the end
    after_failure: Literal["end", "callback", "transfer"] = "end"
    sentences_dir: str = ""  # recorded sentences, WAV; "": made by the offline voice


class Privacy(Section, frozen=True):
    """[privacy]"""

    keep_transcripts_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] = 365.0  # 0: for ever


class Agent(Section, frozen=True):
    """[agents.NAME]"""

    greeting: str = ""
    instructions: str = ""
    voice: str = ""
    language: str = "en"
    tools: tuple[str, ...] = ()  # names from TOOLS; empty: all
    profile: Profile | None = None  # None: [ai] profile
    record: bool = False  # two-channel recording
    protect_greeting: bool = False  # the greeting may not be interrupted (legal notice)
    one_moment: str = ""  # said when the session keeps the caller waiting; "": built in, as the next two
    still_trying: str = ""  # said when it goes on
    last_words: str = ""  # said when no session can be had, before what [failure] after_failure says


class Route(Section, frozen=True):
    """[[route]]: first match wins; an inbound number nobody routes gets the default agent."""

    to: str  # number or pattern: "+918069000000", "+9180*", "*"
    agent: str
    carrier: str = "*"


class Offline(Section, frozen=True):
    """[ai.offline]"""

    recognisers: Whole = 0  # processes; 0: one per core but one, at least one
    capacity: Whole = 0  # calls at once; 0: as measured per recogniser process
    business: str = ""  # path of business_data.json; "": the one in DATA_DIR, else the built-in sample
    voice: str = "rms"
    end_of_turn_s: Seconds = 0.6
    short_end_of_turn_s: Seconds = 0.35
    barge_in_s: Seconds = 0.16
    echo_gate_db: Decibels = 18.0
    min_confidence: Share = 0.5


class Gemini(Section, frozen=True):
    """[ai.gemini]; the key is in the environment alone"""

    model: FilePath = "gemini-3.8-live"
    voice: FilePath = "Kore"
    language: str = ""  # BCP-47 such as "hi-IN"; "": the agent's, where it names a region
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.5
    top_p: Share = 0.9
    max_output_tokens: Whole = 0  # 0: no limit; a small one cuts speech in mid-word
    thinking: Literal["", "minimal", "low", "medium", "high"] = ""
    start_sensitivity: Literal["", "low", "high"] = ""  # "": the vendor's default
    end_sensitivity: Literal["", "low", "high"] = ""
    prefix_padding_ms: Whole = 0  # 0: the vendor's default
    silence_duration_ms: Whole = 0
    api_version: FilePath = "v1beta"
    base_url: str = ""  # "": Google's
    ca_file: str = ""  # "": the system's authorities
    capacity: Whole = 0  # calls at once; 0: any number
    setup_timeout_s: Seconds = 5.0  # for the first connection of a call, tries included
    recover_s: Seconds = 2.5  # a lost connection must be back within this, tries included
    stall_s: Seconds = 4.0  # no answer for so long: nudge; half of it more: another connection
    hand_over_margin_s: Seconds = 5.0  # leave a connection so long before its announced end
    gap_audio_s: Annotated[float, msgspec.Meta(ge=1, le=60)] = 10.0  # of the caller, kept for the next connection


class Ai(Section, frozen=True):
    """[ai]"""

    profile: Profile = "auto"
    gemini: Gemini = Gemini()
    offline: Offline = Offline()


class Smartflo(Section, frozen=True):
    """[carriers.smartflo]"""

    dids: tuple[str, ...] = ()  # our numbers: the other one is the customer
    say_connected_after_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 1.0


class Twilio(Section, frozen=True):
    """[carriers.twilio]"""

    auth_token: str = ""  # the account's primary one; verifies X-Twilio-Signature
    other_auth_token: str = ""  # also accepted, while the primary one is being changed


class Carriers(Section, frozen=True):
    """[carriers]"""

    smartflo: Smartflo = Smartflo()
    twilio: Twilio = Twilio()


class SipUser(Section, frozen=True):
    """[[sip.user]]: who may call from anywhere, after a digest challenge."""

    name: FilePath
    password: FilePath


class SipTrunk(Section, frozen=True):
    """[[sip.trunk]]: a provider or PBX that calls us, that we call through, or both."""

    name: FilePath
    host: FilePath  # domain or HOST[:PORT]; its addresses may call us
    transport: Literal["udp", "tcp", "tls"] = "udp"
    user: str = ""  # of our address there
    auth_user: str = ""  # "": as user
    password: str = ""
    register: bool = False  # register at it, as its client or its extension
    register_s: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 300  # asked for; renewed before it is over
    keepalive_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0  # OPTIONS so often; 0: none
    proxy: str = ""  # outbound proxy, HOST[:PORT]
    caller: str = ""  # number shown where a call names none; "": user
    identity: Literal["from", "pai", "ppi", "rpid"] = "from"  # header that shows it
    privacy: bool = False  # the callee must not see it (RFC 3323)
    allow: tuple[str, ...] = ()  # further addresses or networks it calls from
    srtp: Srtp = "off"
    codecs: tuple[str, ...] = ()  # of our offers to it, best first; (): as [sip] codecs
    dtmf: Literal["auto", "rfc4733", "info", "inband"] = "auto"  # auto: what the far end can take
    timer_s: Timer = 1800  # session timer (RFC 4028); 0: none
    refer: bool = True  # it understands REFER: a transfer is its work
    headers: tuple[str, ...] = ()  # "Name: value", of every INVITE we send it
    keep_headers: tuple[str, ...] = ()  # names, of its INVITEs, into the call's context beside X-…
    outcomes: tuple[str, ...] = ()  # "603=no_answer": what its codes mean, where it is not what RFC 3261 says


class Sip(Section, frozen=True):
    """[sip]"""

    enabled: bool = True
    listen: tuple[str, ...] = ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060")  # udp:, tcp: or tls:HOST:PORT
    public_address: str = ""  # ours as the other side sees it, behind a 1:1 NAT
    rtp_ports: FilePath = "10000-19999"  # UDP, first and last
    clock_rate: Annotated[int, msgspec.Meta(ge=8000, le=16_000, multiple_of=8000)] = 8000  # Hz of the bridge
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722", "L16")  # best first; the others are not offered or taken
    jitter_ms: Annotated[int, msgspec.Meta(ge=40, le=2000)] = 400  # most that the jitter buffer holds
    conceal: bool = True  # lost packets are filled in
    max_calls: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200
    media_timeout_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0  # no audio for so long; 0: never
    allow: tuple[str, ...] = ()  # addresses or networks that may call without credentials, beside trunks
    allow_transfer_to: tuple[str, ...] = ()  # numbers and patterns as in [[route]], and SIP addresses
    refer_answer_s: Annotated[float, msgspec.Meta(ge=0.5, le=32)] = 5.0  # for a far end's answer to REFER
    tls_cert: str = ""  # PEM files of listen = tls:
    tls_key: str = ""
    tls_ca: str = ""  # authorities of trunks' certificates; "": not checked
    srtp: Srtp = "optional"  # of calls that come through no trunk
    timer_s: Timer = 1800  # session timer of calls that come through no trunk; 0: none
    algorithms: tuple[str, ...] = ("MD5",)  # of challenges to [[sip.user]], in their order
    nameservers: tuple[str, ...] = ()  # addresses, asked for trunks' names; (): those of the system
    user: tuple[SipUser, ...] = ()
    trunk: tuple[SipTrunk, ...] = ()


class AudioSocket(Section, frozen=True):
    """[audiosocket]: Asterisk's own protocol, over TCP"""

    listen: str = ""  # "host:port"; "": off
    allow: tuple[str, ...] = ()  # addresses or networks beside this machine
    rate: Literal[8000, 16000, 24000] = 8000  # Hz of what we send, and of kind 0x10
    lines: tuple[str, ...] = ()  # "UUID=NUMBER"; empty: any UUID, no number


class Log(Section, frozen=True):
    """[log]"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    file: str = ""


class Settings(Section, frozen=True):
    """Everything that is in force."""

    server: Server = Server()
    auth: Auth = Auth()
    limits: Limits = Limits()
    failure: Failure = Failure()
    privacy: Privacy = Privacy()
    agents: dict[str, Agent] = msgspec.field(default_factory=lambda: {"receptionist": Agent()})
    route: tuple[Route, ...] = ()
    default_agent: str = "receptionist"
    ai: Ai = Ai()
    carriers: Carriers = Carriers()
    sip: Sip = Sip()
    audiosocket: AudioSocket = AudioSocket()
    log: Log = Log()
    database_url: str = ""  # "" = SQLite file under data_dir
    redis_url: str = ""  # "" = this node is alone
    name: str = "Trunkline"  # what GET / calls the service
