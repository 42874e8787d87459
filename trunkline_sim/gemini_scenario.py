"""How a simulated Gemini behaves: what it answers, how fast, and everything that can go wrong. Values; pure.

A scenario is chosen by the path's first part (`https://host/NAME`), by the key (`sim:NAME:speedup=8,voice=flite`), or
is the server's default. From JSON it is checked field by field: unknown names and wrong types are told.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from trunkline_sim.errors import SimError

Kind: TypeAlias = Literal[
    "close", "rst", "half_open", "stall", "message", "unknown", "error", "bad_json", "bad_b64", "wrong_type",
    "empty", "huge", "phantom_interrupted", "goaway", "mute",
]  # fmt: skip


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong, once per connection, at one moment.

    The moment: `at_s` after setupComplete (negative: instead of it); or in the agent's sentence, `after_ms` of audio of
    reply number `turn` (from 1 over the whole session) having been sent; or at rest, `idle_ms` after that reply's turn
    was complete; or in the caller's, `caller_ms` into their utterance number `turn` (0: any) of this connection; or in
    a use of tools, `tool_ms` after request number `turn` (0: any) of this connection.
    """

    kind: Kind
    at_s: float | None = None
    turn: int = 0
    after_ms: float = 0.0
    caller_ms: float | None = None
    idle_ms: float | None = None
    tool_ms: float | None = None
    connection: int = 1  # only on the n-th connection that asked for this scenario; 0: on each
    probability: float = 1.0
    code: int = 1011  # of close
    reason: str = "Internal error occurred."
    seconds: float = 0.0  # of stall (0: for ever); of goaway until the deadline
    silent: bool = False  # after goaway, nothing is sent but the close
    message: Any = None  # JSON of a planted message

    def __post_init__(self) -> None:
        if self.at_s is None and not self.turn and self.caller_ms is None and self.tool_ms is None:
            raise ValueError("a fault needs its moment: at_s, turn, caller_ms or tool_ms")
        if self.idle_ms is not None and not self.turn:
            raise ValueError("idle_ms needs turn: after which reply")
        if self.kind == "close" and not 1000 <= self.code <= 4999:
            raise ValueError("code is a websocket close code, 1000 to 4999")
        if self.kind == "message" and self.message is None:
            raise ValueError("a planted message needs message")


class ToolUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call of a tool by the model."""

    name: str
    args: dict[str, Any] = {}


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do when `match` (a regular expression, case ignored) is found in what was heard or written.

    Without tools `say` is the answer ("" none). With tools `say` is spoken meanwhile where they do not block, and
    `then` after them; `{text}` is what was heard, `{result}` what the tools answered; in `say` also `{name}`, a named
    group of `match`.
    """

    match: str
    say: str = ""
    tools: tuple[ToolUse, ...] = ()
    one_by_one: bool = False  # the next call only after the last one's answer
    then: str = "{result}"


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about one connection's behaviour. Times in s, real time."""

    # the door
    keys: tuple[str, ...] = ()  # accepted API keys; empty: any but none
    http_status: int = 0  # refuse the upgrade: 401, 429, 503
    retry_after_s: float | None = None
    refuse_first: int = 0  # only the first so many connections; 0: all
    setup_delay_s: float = 0.15
    slow_setup_s: float = 0.0  # of the first `slow_setups` connections, in place of setup_delay_s; 0: the same
    slow_setups: int = 1
    no_setup_ack: bool = False
    # the conversation
    hear: Literal["recordings", "any"] = "recordings"  # "any": whatever is loud enough is a turn
    rules: tuple[Rule, ...] = ()
    greeting: str = "Hello, how can I help you?"  # to the first text, where nothing was said before
    reply: str = "You said: {text}"  # where no rule matches
    sorry: str = ""  # said to what was not understood; "" nothing
    voice: Literal["tones", "flite"] = "tones"
    char_s: float = 0.06  # of tones per character
    first_audio_s: float = 0.4
    first_audio_jitter_s: float = 0.0
    speedup: float = 4.0  # audio is made so much faster than it plays
    chunk_bytes: tuple[int, ...] = (960, 1920, 9600, 11520, 24000)
    odd_chunks: bool = False
    rate: int = 24_000  # Hz of what is sent, named in its MIME type
    style: Literal["2.5", "3", "3.8"] = "3"  # 3: parts and transcription share messages; 3.8: and interactionStatus
    interrupt_s: float = 0.25
    stale_chunks: int = 2
    voice_activity: bool = False
    no_turn_complete: bool = False
    dup_turn_complete: bool = False
    late_audio: bool = False  # one more chunk after `interrupted`
    tool_timeout_s: float = 30.0
    tool_cancel_s: float | None = None  # cancel unanswered calls after so long
    strict: bool = True  # a wrong tool answer is closed with 1007
    # the session
    handle_after_s: float = 1.0
    handle_ttl_s: float = 7200.0
    resume: Literal["ok", "refused", "poisoned"] = "ok"  # poisoned: transcribes, never speaks again
    refuse_code: int = 1007
    goaway_at_s: float | None = None
    goaway_left_s: float = 50.0
    goaway_silent: bool = False
    pong_delay_s: float = 0.0
    faults: tuple[Fault, ...] = ()
    mode: Literal["talk", "bench"] = "talk"
    bench_frames: int = 1  # bench: one answer per so many received frames
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("speedup", "char_s", "bench_frames"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if not self.chunk_bytes or min(self.chunk_bytes) < 2:
            raise ValueError("chunk_bytes needs sizes of 2 or more")
        if self.rate not in (8000, 16000, 24000, 48000):
            raise ValueError("rate must be 8000, 16000, 24000 or 48000")


DEADLINE = "Deadline expired before operation could complete."
QUOTA = "You exceeded your current quota, please check your plan and billing details."

ODD_KINDS: tuple[Kind, ...] = ("unknown", "error", "bad_json", "bad_b64", "wrong_type", "empty", "huge")

PRESETS: Mapping[str, Scenario] = {
    "default": Scenario(),
    "any": Scenario(hear="any"),
    "bench": Scenario(mode="bench", setup_delay_s=0.0),
    "http_401": Scenario(http_status=401),
    "http_429": Scenario(http_status=429, retry_after_s=1.0),
    "http_503": Scenario(http_status=503, retry_after_s=1.0),
    "no_setup_ack": Scenario(no_setup_ack=True),
    "slow_setup": Scenario(setup_delay_s=3.0),
    "rst": Scenario(faults=(Fault(kind="rst", turn=1, after_ms=500),)),
    "close_1000": Scenario(faults=(Fault(kind="close", code=1000, reason="", turn=1, after_ms=500),)),
    "close_1007": Scenario(faults=(Fault(kind="close", code=1007, reason="Invalid argument.", at_s=-1),)),
    "close_1008": Scenario(faults=(Fault(kind="close", code=1008, reason="Operation is not supported.", at_s=-1),)),
    "deadline": Scenario(faults=(Fault(kind="close", reason=DEADLINE, turn=1, after_ms=500),)),
    "quota": Scenario(faults=(Fault(kind="close", reason=QUOTA, at_s=1.0, connection=0),)),
    "half_open": Scenario(faults=(Fault(kind="half_open", turn=1, after_ms=500),)),
    "slow_first_audio": Scenario(first_audio_s=5.0),
    "stall_mid_turn": Scenario(faults=(Fault(kind="stall", seconds=2.0, turn=1, after_ms=500),)),
    "slow_pong": Scenario(pong_delay_s=25.0),
    "goaway": Scenario(goaway_at_s=3.0, goaway_left_s=5.0),
    "goaway_silent": Scenario(goaway_at_s=3.0, goaway_left_s=5.0, goaway_silent=True),
    "goaway_short": Scenario(goaway_at_s=3.0, goaway_left_s=2.0),
    "resume_refused": Scenario(resume="refused"),
    "resume_poisoned": Scenario(resume="poisoned"),
    "phantom_interrupt": Scenario(faults=(Fault(kind="phantom_interrupted", at_s=2.0),)),
    "odd_messages": Scenario(faults=tuple(Fault(kind=k, at_s=0.5 + 0.1 * n) for n, k in enumerate(ODD_KINDS))),
    "odd_chunks": Scenario(odd_chunks=True, rate=16_000),
    "no_turn_complete": Scenario(no_turn_complete=True),
    "noise": Scenario(dup_turn_complete=True, late_audio=True),
}


def scenario_from(body: Any) -> Scenario:
    """A scenario from JSON. Raises SimError, which names the field and what is allowed."""
    try:
        return msgspec.convert(body, Scenario)
    except (msgspec.ValidationError, ValueError) as wrong:
        raise SimError(f"scenario: {wrong}") from wrong


def with_changes(scenario: Scenario, changes: str) -> Scenario:
    """`speedup=8,voice=flite` laid over a scenario. Raises SimError."""
    body = msgspec.to_builtins(scenario)
    for pair in filter(None, changes.split(",")):
        name, sign, value = pair.partition("=")
        if not sign or name not in body:
            raise SimError(f"scenario: {name!r} is no setting; there are: {', '.join(body)}")
        body[name] = _value(value)
    return scenario_from(body)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
