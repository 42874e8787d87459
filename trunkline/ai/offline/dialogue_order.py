"""How the receptionist takes an order: asks for what it lacks, reads it back, has it placed. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from trunkline.ai.business import Business, MenuItem
from trunkline.ai.offline import dialogue_phrases as say
from trunkline.ai.offline.dialogue_state import GUEST, Line, State, Step, Want, news
from trunkline.ai.offline.intents import Named, Reader, Reading
from trunkline.ai.toolbox import MOST_OF_ONE_ITEM
from trunkline.ai.tools import Json, ToolResult

_PARTS: Final[Mapping[str, Sequence[str]]] = {
    "name": ("name",),
    "quantity": ("many", "number", "quantity", "amount"),
    "item": ("item", "order", "pizza", "dish"),
}
_THAT = re.compile(r"\b(it|that|one|them|those|some)\b")
_NAMELESS = re.compile(
    r"\b(no name|rather not|(don't|do not) (want|need|like)|anonymous|without (a|my) name|why do you)\b"
)


class OrderTaking:
    """The rules of ordering at one business. Holds no state of any call."""

    def __init__(self, business: Business, reader: Reader) -> None:
        self._shop = business
        self._reader = reader

    def order(self, state: State, reading: Reading, now: datetime) -> Step:
        """Words about an order: things, how many, for whom."""
        if reading.name:
            state = replace(state, name=reading.name)
        if reading.items:
            dropped = self.dropped(state, reading)
            if dropped is not None:
                return dropped
            corrects = reading.intent == "correction" or state.ask == "change"
            lines = () if corrects and len(state.lines) == 1 else state.lines
            return self.ordering(with_things(replace(state, lines=lines), reading.items, more=reading.more))
        if state.topic and not state.lines and not reading.generic and _THAT.search(reading.text):
            return self.ordering(replace(state, lines=(Line(state.topic, reading.quantity or 1),), topic=""))
        if reading.more and state.placed and not state.lines:
            return self._again(state, reading)
        if reading.more and reading.quantity is not None and self._same_kind(state, reading.generic):
            return self.ordering(quantified(state, (state.lines[-1].quantity or 0) + reading.quantity))
        if reading.quantity is not None and self._same_kind(state, reading.generic):
            return self.ordering(quantified(state, reading.quantity))
        if state.ask == "change":
            return self.change(state, wanted_change(reading.text))
        if state.lines and not reading.generic:
            return state, (state.question,)
        return self.which(state, reading)

    def _same_kind(self, state: State, generic: str) -> bool:
        """Whether "another pizza" is another of what was ordered last."""
        alike = [item.name for item in self._reader.kinds.get(generic, ())]
        return bool(state.lines) and (not generic or state.lines[-1].item in alike)

    def named(self, state: State, reading: Reading, now: datetime) -> Step | None:
        """A name, if that is what these words are; None when they speak of something else."""
        if reading.items or (reading.intent in ("order", "correction") and not reading.name):
            return None
        if reading.intent == "no" or _NAMELESS.search(reading.text):
            return self.ordering(replace(state, name=GUEST))
        name = reading.name or (reading.bare if reading.intent in ("", "name", "quantity") else "")
        return self.ordering(replace(state, name=name)) if name else None

    def dropped(self, state: State, reading: Reading) -> Step | None:
        """The order without what the caller does not want any more; None when these words do not say that."""
        ordered = [line.item for line in state.lines]
        named = {one.item.name for one in reading.items}
        plain_no = reading.text.startswith(("no ", "actually no ")) and all(
            one.quantity is None for one in reading.items
        )
        if reading.drops and not named.intersection(ordered):
            return state, (f"There's no {reading.items[0].item.name} in your order.", state.question)
        if not named or not named.issubset(ordered) or not (reading.drops or (plain_no and len(ordered) > 1)):
            return None
        left = tuple(line for line in state.lines if line.item not in named)
        if left:
            return self.ordering(replace(state, lines=left))
        question = "What would you like instead?"
        return replace(state, lines=(), ask="item", question=question, offered=()), (
            "All right, I've dropped that.",
            question,
        )

    def _again(self, state: State, reading: Reading) -> Step:
        if "same" in reading.text:
            return self.ordering(replace(state, lines=state.placed))
        many = reading.quantity or 1
        last = state.placed[-1].item
        alike = self._reader.kinds.get(reading.generic, ())
        if reading.generic and last not in (item.name for item in alike):
            return self.which(state, reading)
        return self.ordering(replace(state, lines=(Line(last, many),)))

    def which(self, state: State, reading: Reading) -> Step:
        """Ask for a thing."""
        if not self._shop.menu:
            return state, ("I'm sorry, I can't take orders here.",)
        kind = self._reader.kinds.get(reading.generic)
        question = f"Which {reading.generic}?" if kind else "What would you like?"
        offer = say.short_names(kind, reading.generic, 4) if kind else say.names(self._shop.menu, 3)
        offered = tuple(item.name for item in kind or self._shop.menu)
        after = replace(state, ask="item", question=question, offered=offered)
        if kind and reading.quantity is not None:
            after = replace(after, keyed=str(reading.quantity))
        return after, (question, f"We have {offer}.")

    def change(self, state: State, what: str) -> Step:
        """The part of the order that the caller wants otherwise."""
        match what:
            case "name":
                return self.ordering(replace(state, name=""))
            case "quantity":
                return self.ordering(replace(state, lines=tuple(Line(line.item) for line in state.lines)))
            case "item":
                return self.which(replace(state, lines=()), Reading("", "order"))
            case _:
                return state, (state.question,)

    def ordering(self, state: State) -> Step:
        """The next thing that the order lacks."""
        if not state.lines:
            return self.which(state, Reading("", "order"))
        lacking = next((line for line in state.lines if line.quantity is None), None)
        if lacking is not None:
            question = f"How many {say.plural(lacking.item)}?"
            return replace(state, ask="quantity", question=question), (question,)
        most = max(line.quantity or 0 for line in state.lines)
        if not 1 <= most <= MOST_OF_ONE_ITEM:
            lines = tuple(replace(line, quantity=None) if line.quantity == most else line for line in state.lines)
            question = f"I can take one to {MOST_OF_ONE_ITEM}. How many?"
            return replace(state, lines=lines, ask="quantity", question=question), (question,)
        if not state.name:
            question = "What name is it for?"
            return replace(state, ask="name", question=question), (question,)
        return self._confirming(state)

    def _confirming(self, state: State) -> Step:
        things = say.listed([say.some(line.quantity or 1, line.item) for line in state.lines])
        summary = f"So that's {things} for {state.name}{self._total(state.lines)}."
        question = "Shall I place the order?"
        return replace(state, ask="confirm", question=question, keyed=""), (summary, question)

    def _total(self, lines: Sequence[Line]) -> str:
        priced = [(item.price, line.quantity or 1) for line in lines if (item := self._item(line.item)) is not None]
        if not priced or any(amount is None for amount, _ in priced):
            return ""
        return f", {say.price(self._shop, sum((amount or 0.0) * many for amount, many in priced))} in all"

    def place(self, state: State) -> Want:
        """The tool call for the first thing on the list."""
        line = state.lines[0]
        return Want("place_order", {"customer_name": state.name, "item": line.item, "quantity": line.quantity})

    def placed(self, state: State, result: ToolResult, value: Mapping[str, Json]) -> Step:
        """What `place_order` answered: the next thing of the list, or the news."""
        if result.error:
            question = "Shall I try once more?"
            after = replace(state, ask="confirm", question=question)
            return news(after, f"I'm sorry, I couldn't place that order. {question}")
        done, waiting = state.lines[:1], state.lines[1:]
        numbers = (*state.numbers, str(value.get("order_id", "")))
        after = replace(state, lines=waiting, numbers=numbers, placed=(*state.placed, *done))
        if waiting:
            return after, (self.place(after),)
        after = replace(after, ask="more", question="Anything else?", numbers=(), known=numbers)
        return news(after, f"Done. {numbers_told(numbers)} Anything else?")

    def _item(self, name: str) -> MenuItem | None:
        return next((item for item in self._shop.menu if item.name == name), None)


def with_things(state: State, items: Sequence[Named], *, more: bool = False) -> State:
    """The order with these things in it; a thing named again gets its new number, or so many `more`."""
    lines = {line.item: line for line in state.lines}
    for named in items:
        waiting = int(state.keyed) if state.keyed and len(items) == 1 else None
        quantity = named.quantity or waiting or (1 if more else None)
        known = lines.get(named.item.name, Line(named.item.name))
        if more and quantity and known.quantity:
            quantity += known.quantity
        lines[named.item.name] = replace(known, quantity=quantity or known.quantity)
    return replace(state, lines=tuple(lines.values()), keyed="")


def quantified(state: State, quantity: int) -> State:
    """The number belongs to the first line that lacks one, else to the last."""
    at = next((i for i, line in enumerate(state.lines) if line.quantity is None), len(state.lines) - 1)
    lines = tuple(replace(line, quantity=quantity) if i == at else line for i, line in enumerate(state.lines))
    return replace(state, lines=lines)


def wanted_change(text: str) -> str:
    """ "name", "quantity", "item", or "" for neither."""
    for what, words in (
        ("name", "name"),
        ("quantity", "many number quantity amount"),
        ("item", "item order pizza dish"),
    ):
        if any(word in text.split() for word in words.split()):
            return what
    return ""


def numbers_told(ids: Sequence[str]) -> str:
    """The order's number, or its numbers, as they are told."""
    said = [str(int(digits)) if (digits := number.rpartition("-")[2]).isdigit() else number for number in ids]
    return f"Your order number is {said[0]}." if len(said) == 1 else f"Your order numbers are {say.listed(said)}."


def order_told(value: Mapping[str, Json]) -> str:
    """An order as it is told to a caller."""
    number = str(value.get("order_id", "")).rpartition("-")[2]
    many = value.get("quantity")
    things = say.some(many if isinstance(many, int) else 1, str(value.get("item", "")))
    return f"Order {number.lstrip('0') or '0'}, {things}, is {value.get('status', 'unknown')}."
