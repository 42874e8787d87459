"""Where a conversation with the receptionist stands and what it expects next. Pure data, shared by its rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from trunkline.ai.cascade.protocols import ModelState
from trunkline.ai.tools import Json

Ask: TypeAlias = Literal["open", "more", "item", "quantity", "name", "confirm", "change", "order_id", "placing"]

KEYS: Final = "Press 1 for our hours, 2 for where we are, 3 for the menu, 4 to order, or 0 for a person."
GUEST: Final = "Phone guest"
_SHORT_PATIENCE_S: Final = 0.35
_HINTS: Final[Mapping[Ask, ModelState]] = {
    "item": ModelState("item"),
    "quantity": ModelState("number", _SHORT_PATIENCE_S),
    "name": ModelState("name"),
    "confirm": ModelState("yes_no", _SHORT_PATIENCE_S),
    "order_id": ModelState("digits"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """So many of one thing; `quantity` None until it was said."""

    item: str
    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """A tool that is to be used now."""

    name: str
    arguments: Mapping[str, Json] = field(default_factory=dict)


Act: TypeAlias = str | Want


@dataclass(frozen=True, slots=True)
class State:
    """Where the conversation stands."""

    ask: Ask = "open"  # what the caller's next words should answer
    question: str = ""  # the question that is open; asked again after a digression
    lines: tuple[Line, ...] = ()  # of the order being taken
    name: str = ""
    placed: tuple[Line, ...] = ()  # the last order, for "another one"
    numbers: tuple[str, ...] = ()  # order numbers got in this round
    known: tuple[str, ...] = ()  # those of the last order that was placed in this call
    offered: tuple[str, ...] = ()  # what keys choose from, in order
    topic: str = ""  # the item that was last spoken of
    keyed: str = ""  # digits of an order number so far
    last: str = ""  # what was said last, in full
    unsaid: str = ""  # news that was cut before any of it was heard
    misses: int = 0  # times in a row that nothing was understood
    silences: int = 0  # prompts in a row


Step: TypeAlias = tuple[State, Sequence[Act]]


def hint(state: State) -> ModelState:
    """What the recogniser and the turn taker should expect."""
    return _HINTS.get(state.ask, ModelState())


def news(state: State, text: str) -> Step:
    """To be told even if the caller cuts it off: it is said first the next time."""
    return replace(state, unsaid=text), (text,)


def examples(state: State) -> str:
    """What could be said or pressed now."""
    match state.ask:
        case "item":
            return "Say what you would like, or press 1 for the first I named, 2 for the second, and so on."
        case "quantity":
            return "Say a number, such as two, or press it."
        case "name":
            return "Say a first name, or press any key to go on without."
        case "confirm":
            return "Say yes, or press 1. Say no, or press 2."
        case "change":
            return "Press 1 for the item, 2 for how many, 3 for the name."
        case "order_id":
            return "Say the digits of your order number, or key them in and press hash."
        case _:
            return "You can say: what are your hours, or: I'd like a pizza. Or press 4 to order."


def keys(state: State) -> str:
    """What could be pressed now."""
    match state.ask:
        case "item" | "quantity" | "name" | "confirm" | "change" | "order_id":
            return examples(state)
        case _:
            return KEYS
