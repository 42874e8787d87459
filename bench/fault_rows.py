"""The call that every fault of Gemini is put into, and the faults. Values; pure.

A greeting, a question, an interruption, an order by a tool, a goodbye: `examples/order.call` for a model that follows.
Replies of the model: 1 greeting, 2 hours (the caller interrupts it), 3 which pizza, 4 the order, 5 goodbye. The
caller's sentences: 1 hours, 2 the interruption, 3 the order, 4 goodbye.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from trunkline_sim.gemini_scenario import DEADLINE, QUOTA, Fault, Rule, Scenario, ToolUse
from trunkline_sim.script import Script, parse

HOURS, PIZZA = "what are your opening hours", "i would like to order a pizza"
ORDER, GOODBYE = "two pepperoni pizzas for david please", "thank you goodbye"
SENTENCES = (HOURS, PIZZA, ORDER, GOODBYE)
GREETING = "Hello, this is Bella Napoli."
TOOL_S = 1.5  # that placing an order takes where a fault is to fall into it
ENDPOINT_S = 0.5  # of the caller's silence, by which the simulated model takes a turn for ended
ORDER_TURN = 3  # of the caller: the one that is answered with a tool
PATIENCE_S = 2.0  # of silence, before the caller takes the agent to have finished
WAITING_S = 10.0  # the same, where the last that was heard asked for a moment

SCRIPT: Script = parse(
    f"""
    wait for agent up to 12 s
    say "{HOURS}"
    interrupt after 2500 ms with "{PIZZA}"
    wait for agent
    say "{ORDER}"
    wait for agent
    say "{GOODBYE}"
    wait for agent
    hang up
    """,
    "faults",
)

WARM_UP = parse("wait for agent up to 12 s", "warm-up")

RULES = (
    Rule(match="The line was interrupted", say="As I was saying, everything is as you wish."),
    Rule(match="The caller is waiting for your answer"),
    Rule(match="The tool place_order", say="Your pizzas are ordered and will be with you soon."),
    Rule(match='word for word and nothing else: "(?P<words>[^"]+)"', say="{words}"),
    Rule(
        match="opening hours",
        say="We are open from eleven in the morning until ten in the evening on all days of the week but Sunday, "
        "when we open at noon and close at nine.",
    ),
    Rule(match="order a pizza", say="With pleasure. Which pizza would you like, and for whom is it?"),
    Rule(
        match="pepperoni",
        tools=(ToolUse(name="place_order", args={"customer_name": "David", "item": "Pepperoni Pizza", "quantity": 2}),),
        then="Thank you David. Two pepperoni pizzas will be ready in twenty minutes.",
    ),
    Rule(match="goodbye", say="Thank you for calling. Goodbye."),
)
_BASE = Scenario(rules=RULES, char_s=0.05, style="3.8")

Kind = Literal["healed", "none"]
Network = Literal["smartflo", "twilio"]


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `kind`: "healed" where a session can be had, "none" where none can: then something honest is due."""

    name: str
    about: str
    scenario: Scenario
    kind: Kind = "healed"
    slow_tool: bool = False
    quiet: bool = False  # the model is healthy, if not fast: no word of ours is wanted
    network: Network = "smartflo"

    def __post_init__(self) -> None:
        assert self.name.replace("_", "").isalnum(), self.name


def normal_s(row: Row, turn: int) -> float:
    """What the simulated model is configured to take, in a row without a fault, from the answer of the call to its
    greeting (turn 0), or from the caller's last word to its reply (their turn 1, 2, …): set-up and first audio, or
    silence at the end and first audio, and where it uses a tool that and its first audio once more."""
    if turn == 0:
        return _BASE.setup_delay_s + _BASE.first_audio_s
    tool_s = _BASE.first_audio_s + (TOOL_S if row.slow_tool else 0.0) if turn == ORDER_TURN else 0.0
    return ENDPOINT_S + _BASE.first_audio_s + tool_s


def _row(name: str, about: str, *faults: Fault, **more: Any) -> Row:
    fields = {key: more.pop(key) for key in list(more) if key in Scenario.__struct_fields__}
    return Row(name, about, msgspec.structs.replace(_BASE, faults=faults, **fields), **more)


def _fault(kind: Any, **fields: Any) -> Fault:
    return Fault(kind=kind, **fields)


_AT_REST: dict[str, Any] = {"turn": 1, "idle_ms": 100}  # the greeting is over, the caller is about to speak
_AGENT: dict[str, Any] = {"turn": 3, "after_ms": 900}  # in "Which pizza would you like"
_CALLER: dict[str, Any] = {"turn": 3, "caller_ms": 1000}  # in "two pepperoni pizzas for david please"
_NEVER: dict[str, Any] = {"kind": "none"}
_GONE = {"code": 1011, "reason": DEADLINE}

ROWS: Sequence[Row] = (
    _row("none", "nothing goes wrong", quiet=True),
    _row("jitter", "each first audio takes 0 to 0.5 s more", first_audio_s=0.65, first_audio_jitter_s=0.25, quiet=True),
    _row("goaway_rest", "goAway, 8 s left, while nobody speaks", _fault("goaway", seconds=8, **_AT_REST), quiet=True),
    _row("goaway_agent", "goAway, 8 s left, while the agent speaks", _fault("goaway", seconds=8, **_AGENT), quiet=True),
    _row("goaway_caller", "goAway, 8 s left, while the caller speaks", _fault("goaway", seconds=8, **_CALLER)),
    _row("goaway_tiny_agent", "goAway, 0.5 s left, while the agent speaks", _fault("goaway", seconds=0.5, **_AGENT)),
    _row(
        "goaway_tiny_caller",
        "goAway, 0.5 s left, while the caller speaks",
        _fault("goaway", seconds=0.5, **_CALLER),
    ),
    _row("goaway_silent", "goAway, 3 s left, then not a word", _fault("goaway", seconds=3, silent=True, **_CALLER)),
    _row("rst_caller", "reset in the caller's sentence", _fault("rst", **_CALLER)),
    _row("rst_caller_end", "reset just behind the caller's sentence", _fault("rst", turn=3, caller_ms=2250)),
    _row("rst_agent", "reset in the agent's sentence", _fault("rst", **_AGENT)),
    _row("rst_greeting", "reset in the greeting", _fault("rst", turn=1, after_ms=600)),
    _row("rst_interrupted", "reset as the caller interrupts", _fault("rst", turn=2, caller_ms=120)),
    _row("close_1011_caller", "1011 in the caller's sentence", _fault("close", **_GONE, **_CALLER)),
    _row("close_1011_agent", "1011 in the agent's sentence", _fault("close", **_GONE, **_AGENT)),
    _row("close_1000_agent", "1000 in the agent's sentence", _fault("close", code=1000, reason="", **_AGENT)),
    _row(
        "refused_1008",
        "reset in the caller's sentence, handle refused by 1008",
        _fault("rst", **_CALLER),
        resume="refused",
        refuse_code=1008,
    ),
    _row(
        "refused_1007",
        "reset in the agent's sentence, handle refused by 1007",
        _fault("rst", **_AGENT),
        resume="refused",
    ),
    _row("close_1008", "1008 in mid-call", _fault("close", code=1008, reason="Operation is not supported.", **_AGENT)),
    _row("stall_2s_agent", "the agent's sentence stalls for 2 s", _fault("stall", seconds=2, **_AGENT)),
    _row("stall_agent", "the agent's sentence stalls for good", _fault("stall", **_AGENT)),
    _row("stall_turn", "no message at all after the caller's sentence", _fault("stall", **_CALLER)),
    _row("half_open", "the connection is dead without a word", _fault("half_open", **_CALLER)),
    _row("mute", "it writes down the caller's sentence and says nothing", _fault("mute", **_CALLER)),
    _row("slow_setup_2s", "first set-up takes 2 s", slow_setup_s=2.0),
    _row("slow_setup_8s", "first set-up takes 8 s", slow_setup_s=8.0),
    _row(
        "slow_resume_2s",
        "reset in the caller's sentence, each set-up takes 2 s",
        _fault("rst", **_CALLER),
        setup_delay_s=2.0,
    ),
    _row("setup_lost", "the first set-up is never acknowledged", _fault("stall", at_s=-1)),
    _row("setup_reset", "the first set-up is reset", _fault("rst", at_s=-1)),
    _row("http_503_twice", "503 twice, then in", http_status=503, refuse_first=2),
    _row("slow_first_audio", "every answer takes 3 s", first_audio_s=3.0),
    _row("slow_pong", "pongs come 25 s late", pong_delay_s=25.0, quiet=True),
    _row(
        "goaway_tool",
        "goAway, 1 s left, while the order is placed",
        _fault("goaway", seconds=1, tool_ms=200),
        slow_tool=True,
    ),
    _row(
        "rst_tool",
        "reset while the order is placed",
        _fault("rst", tool_ms=500),
        slow_tool=True,
    ),
    _row(
        "two_faults",
        "reset in the caller's sentence, then 1011 in the answer",
        _fault("rst", **_CALLER),
        _fault("close", **_GONE, turn=4, after_ms=900, connection=2),
    ),
    _row("http_503", "503 for ever", http_status=503, **_NEVER),
    _row("http_429", "429 for ever", http_status=429, retry_after_s=5.0, **_NEVER),
    _row("http_401", "401", http_status=401, **_NEVER),
    _row("setup_1008", "1008 in place of each set-up", _fault("close", code=1008, at_s=-1, connection=0), **_NEVER),
    _row("setup_never", "no set-up is ever acknowledged", no_setup_ack=True, **_NEVER),
    _row("setup_always_8s", "each set-up takes 8 s", setup_delay_s=8.0, **_NEVER),
    _row(
        "setup_always_reset",
        "each set-up is reset",
        _fault("rst", at_s=-1, connection=0),
        **_NEVER,
    ),
    _row("quota", "the quota ends in the agent's sentence", _fault("close", reason=QUOTA, **_AGENT), **_NEVER),
    _row(
        "gone_for_good",
        "reset in the caller's sentence, and no set-up after it",
        _fault("rst", **_CALLER),
        *(_fault("rst", at_s=-1, connection=number) for number in range(2, 40)),
        **_NEVER,
    ),
)  # fmt: skip


def named(name: str) -> Row:
    """A row by its name. Raises KeyError."""
    return {row.name: row for row in ROWS}[name]


TWILIO: Sequence[str] = (
    "none", "goaway_agent", "goaway_tiny_caller", "rst_caller", "rst_agent", "close_1011_caller", "refused_1008",
    "close_1008", "stall_agent", "stall_turn", "half_open", "mute", "slow_setup_2s", "setup_lost", "setup_reset",
    "slow_first_audio", "rst_tool", "http_503", "gone_for_good",
)  # fmt: skip
"""Rows that are played under Twilio's framing too."""
