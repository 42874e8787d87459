"""The receptionist's dialogue as a pure fold: `step(state, what happened) -> (state, what to do)`.

The state is never kept beside the history: it is folded from the history each time. So a reply that was interrupted,
or a turn that was taken back because the caller went on speaking, leaves no trace but what the history says.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from trunkline.ai.business import Business, MenuItem
from trunkline.ai.cascade.protocols import Utterance
from trunkline.ai.offline.dialogue_info import Information
from trunkline.ai.offline.dialogue_order import (
    OrderTaking,
    numbers_told,
    order_told,
    quantified,
    wanted_change,
    with_things,
)
from trunkline.ai.offline.dialogue_state import GUEST, KEYS, Act, State, Step, Want, examples, keys, news
from trunkline.ai.offline.intents import Named, Reader, Reading
from trunkline.ai.tools import ToolResult

_MOST_MISSES: Final = 6  # in a row; then it is kinder to end the call
_KNOWN: Final = "I know our hours, our address and the menu."
_QUESTIONS: Final = frozenset({"hours", "location", "contact", "menu", "price"})
_ASKING: Final = re.compile(r"^(do|does|is|are|can|could|will|would|what|what's|which|why|who|how|when|have|has) ")
_MENU_KEYS: Final[Mapping[str, str]] = {
    "1": "hours",
    "2": "location",
    "3": "menu",
    "4": "order",
    "5": "order_status",
    "9": "goodbye",
}


class Dialogue:
    """The rules over one business. Holds no state of any call."""

    def __init__(self, business: Business) -> None:
        self._shop = business
        self._reader = reader = Reader(business)
        self._info = Information(business, reader)
        self._orders = OrderTaking(business, reader)
        self._intents: Mapping[str, Callable[[State, Reading, datetime], Step]] = {
            "goodbye": self._goodbye,
            "robot": self._info.robot,
            "reservation": self._info.reservation,
            "human": self._human,
            "cancel": self._cancel,
            "order_status": self._order_status,
            "repeat": self._repeat,
            "contact": self._info.contact,
            "location": self._info.location,
            "price": self._price,
            "hours": self._info.hours,
            "menu": self._info.menu,
            "help": self._info.help,
            "thanks": self._thanks,
            "greeting": self._hello,
            "name": self._hello,
            "order": self._orders.order,
            "correction": self._orders.order,
            "quantity": self._orders.order,
            "yes": self._yes,
            "no": self._no,
        }

    def step(self, state: State, entry: Utterance, now: datetime) -> Step:
        """The state after one entry of the history, and what to say or use if that entry is the newest."""
        match entry.role:
            case "caller":
                after, acts = self._caller(_settled(state), entry, now)
            case "key":
                after, acts = self._key(_settled(state), entry.text, now)
            case "occasion":
                after, acts = self._occasion(state, entry.text)
            case "tool_result" if entry.result is not None:
                after, acts = self._result(state, entry.result)
            case "agent":
                return replace(state, unsaid="", last=state.last or entry.text), ()
            case _:
                return state, ()
        return self._remembered(state, after, acts)

    def _remembered(self, before: State, after: State, acts: Sequence[Act]) -> Step:
        said = " ".join(act for act in acts if isinstance(act, str))
        if before.unsaid and said and before.unsaid not in said:
            acts = (before.unsaid, *acts)
            after = replace(after, unsaid="")
        return (replace(after, last=said) if said else after), acts

    # --- what was heard -------------------------------------------------------------------------------------------

    def _caller(self, state: State, entry: Utterance, now: datetime) -> Step:
        if not entry.accepted or not entry.text.strip():
            return self._missed(state)
        reading = self._reader.read(entry.text)
        answered = self._answered(state, reading, now) or self._two_questions(state, reading, now)
        if answered is None:
            rule = self._intents.get(reading.intent)
            answered = rule(state, reading, now) if rule else None
        if answered is None:
            return self._missed(state, reading)
        after, acts = answered
        if after == state and tuple(acts) == (state.question,):  # no way on: asking the same for ever helps nobody
            return (replace(state, misses=1), acts) if not state.misses else self._missed(state)
        return replace(after, misses=0, silences=0), acts

    def _answered(self, state: State, reading: Reading, now: datetime) -> Step | None:
        """An answer to the question that is open; None when the caller speaks of something else."""
        subject = reading.intent in ("", "name", "quantity", "order", "correction", "yes", "no", "greeting", "thanks")
        if state.ask == "order_id" and reading.digits and reading.intent != "order":
            return replace(state, ask="open"), (Want("lookup_order", {"order_id": reading.digits}),)
        if state.ask == "name" and subject:
            return self._orders.named(state, reading, now)
        if state.ask == "quantity" and reading.quantity is not None and subject:
            return self._orders.ordering(quantified(state, reading.quantity))
        if state.ask == "change" and not reading.items and subject and (what := wanted_change(reading.text)):
            return self._orders.change(state, what)
        if state.ask == "change" and reading.name and not reading.items:
            return self._orders.ordering(replace(state, name=reading.name))
        if state.ask == "confirm" and reading.name and reading.intent in ("name", "", "no"):
            return self._orders.ordering(replace(state, name=reading.name))
        return None

    def _two_questions(self, state: State, reading: Reading, now: datetime) -> Step | None:
        """Both answers to "what are your hours and where are you"."""
        halves = [self._reader.read(half) for half in reading.text.split(" and ")]
        first, last = halves[0].intent, halves[-1].intent
        if len(halves) != 2 or first == last or not {first, last} <= _QUESTIONS:
            return None
        _, told = self._intents[first](replace(state, question=""), halves[0], now)
        after, also = self._intents[last](state, halves[1], now)
        return after, (*told, *also)

    def _missed(self, state: State, reading: Reading | None = None) -> Step:
        after = replace(state, misses=state.misses + 1, silences=0)
        if reading is not None and state.misses < _MOST_MISSES - 1 and _ASKING.search(reading.text):
            return after, (
                "I'm sorry, I don't know that.",
                state.question or "I know our hours, our address and the menu.",
            )
        if state.misses == 0:
            opening = "Sorry, I didn't get that." if reading is not None or state.question else "Sorry?"
            return after, (f"{opening} {state.question}".strip(),)
        if state.misses == 1:
            return after, (f"Sorry, I still didn't get that. {examples(state)}",)
        if state.ask == "name":
            return self._orders.ordering(replace(after, name=GUEST, misses=0))
        if state.misses == 2:
            return after, (f"Let's use the keys. {keys(state)}",)
        if state.misses < _MOST_MISSES - 1:
            return after, (f"I'm sorry, I don't understand. {keys(state)}{self._call_back()}",)
        lost = "I haven't placed the order. " if state.lines else ""
        return replace(after, lines=()), (f"I'm sorry, this isn't working. {lost}Goodbye!", Want("end_call"))

    def _call_back(self) -> str:
        return f" Or call us again at {self._shop.phone}." if self._shop.phone else ""

    # --- keys -----------------------------------------------------------------------------------------------------

    def _key(self, state: State, key: str, now: datetime) -> Step:
        state = replace(state, misses=0, silences=0)
        if state.ask == "order_id" and (key.isdigit() or (key == "#" and state.keyed)):
            return self._order_digit(state, key)
        if key in ("*", "#"):
            return self._repeat(state, Reading("", "repeat"), now)
        if key == "0":
            return self._human(state, Reading("", "human"), now)
        match state.ask:
            case "quantity" if key.isdigit():
                return self._orders.ordering(quantified(state, int(key)))
            case "confirm" if key in "12":
                return (self._yes if key == "1" else self._no)(state, Reading("", ""), now)
            case "item" if key.isdigit() and int(key) <= len(self._choice(state)):
                chosen = self._choice(state)[int(key) - 1]
                return self._orders.ordering(with_things(state, (Named(chosen, None),)))
            case "change" if key in "123":
                return self._orders.change(state, ("item", "quantity", "name")[int(key) - 1])
            case "name":
                return self._orders.ordering(replace(state, name=GUEST))
            case _:
                intent = _MENU_KEYS.get(key)
                if intent is None or state.ask not in ("open", "more"):
                    return state, (f"That key does nothing here. {keys(state)}",)
                return self._intents[intent](state, Reading("", intent), now)

    def _choice(self, state: State) -> Sequence[MenuItem]:
        """What the keys choose from: what was offered, else the menu."""
        return [item for item in self._shop.menu if item.name in state.offered] or self._shop.menu

    def _order_digit(self, state: State, key: str) -> Step:
        keyed = state.keyed + (key if key != "#" else "")
        if key != "#" and len(keyed) < 5:
            return replace(state, keyed=keyed), ()
        return replace(state, ask="open", keyed="", question=""), (Want("lookup_order", {"order_id": keyed}),)

    # --- unasked --------------------------------------------------------------------------------------------------

    def _occasion(self, state: State, occasion: str) -> Step:
        match occasion:
            case "greeting":
                return state, (
                    f"Hello, this is {self._shop.name}.",
                    "I'm the automated assistant. How can I help?",
                )
            case "goodbye":
                return state, (f"Thank you for calling {self._shop.name}. Goodbye!",)
            case "silence":
                after = replace(state, silences=state.silences + 1)
                if state.silences == 0:
                    return after, (f"Are you still there? {state.question}".strip(),)
                return after, (f"I can't hear you. {keys(state)}",)
            case _:
                return state, ()

    # --- what the tools answered ----------------------------------------------------------------------------------

    def _result(self, state: State, result: ToolResult) -> Step:
        value = result.value if isinstance(result.value, dict) else {}
        match result.name:
            case "place_order":
                return self._orders.placed(state, result, value)
            case "lookup_order":
                after = replace(state, ask="more", question="Anything else?")
                if result.error:
                    return after, ("I can't find an order with that number. Anything else?",)
                return after, (f"{order_told(value)} Anything else?",)
            case "transfer_call" if result.error:
                reach = f"You can reach us at {self._shop.phone}." if self._shop.phone else "Please try again later."
                return news(state, f"I'm sorry, I can't put you through from here. {reach} {state.question}".strip())
            case _:
                return state, ()

    # --- intents: the conversation itself ---------------------------------------------------------------------------

    def _price(self, state: State, reading: Reading, now: datetime) -> Step:
        if "total" in reading.text and state.lines and not reading.items:
            return self._orders.ordering(state) if state.name else self._info.price(state, reading, now)
        return self._info.price(state, reading, now)

    def _human(self, state: State, reading: Reading, now: datetime) -> Step:
        return state, ("One moment, please.", Want("transfer_call"))

    def _order_status(self, state: State, reading: Reading, now: datetime) -> Step:
        if reading.digits:
            return replace(state, ask="open", question=""), (Want("lookup_order", {"order_id": reading.digits}),)
        if state.known and "number" in reading.text:
            return replace(state, ask="more", question="Anything else?"), (
                f"{numbers_told(state.known)} Anything else?",
            )
        if state.known:
            newest = state.known[-1].rpartition("-")[2]
            return replace(state, ask="open", question=""), (Want("lookup_order", {"order_id": newest}),)
        question = "What's your order number? You can say it, or key it in and press hash."
        return replace(state, ask="order_id", question=question, keyed=""), (question,)

    def _repeat(self, state: State, reading: Reading, now: datetime) -> Step:
        return state, (state.last or KEYS,)

    def _hello(self, state: State, reading: Reading, now: datetime) -> Step:
        name = f" {reading.name}" if reading.name else ""
        state = replace(state, name=reading.name or state.name)
        return state, (f"Hello{name}! {state.question or 'How can I help?'}",)

    def _thanks(self, state: State, reading: Reading, now: datetime) -> Step:
        if state.lines:
            return state, (state.question,)
        return replace(state, ask="more", question="Anything else?"), ("You're welcome. Anything else?",)

    def _cancel(self, state: State, reading: Reading, now: datetime) -> Step:
        if reading.text == "stop":  # to the voice, not to the order
            return state, ("All right.", state.question or "How can I help?")
        dropped = self._orders.dropped(state, reading)
        if dropped is not None:
            return dropped
        after = replace(state, ask="more", question="Anything else?", lines=(), keyed="", numbers=())
        if not state.lines and not state.placed and state.ask in ("open", "more"):
            return after, ("There's nothing to cancel. Anything else?",)
        if state.lines or not state.placed or state.ask == "order_id":
            return after, ("All right, I've dropped that. Anything else?",)
        return after, ("I can't cancel an order that is placed. Press 0 for a person. Anything else?",)

    def _goodbye(self, state: State, reading: Reading, now: datetime) -> Step:
        lost = "I haven't placed the order. " if state.lines else ""
        after = replace(state, ask="open", question="", lines=())
        return after, (f"{lost}Thank you for calling. Goodbye!", Want("end_call"))

    def _yes(self, state: State, reading: Reading, now: datetime) -> Step:
        if state.ask == "confirm":
            return replace(state, ask="placing", placed=(), question=""), (self._orders.place(state),)
        if state.lines:
            return state, (state.question,)
        return replace(state, ask="open", question=""), ("Sure. What can I do for you?",)

    def _no(self, state: State, reading: Reading, now: datetime) -> Step:
        if state.ask in ("more", "open") and (state.ask == "more" or "that" in reading.text):
            return self._goodbye(state, reading, now)
        if state.ask == "confirm":
            question = "What should I change: the item, how many, or the name?"
            return replace(state, ask="change", question=question), (question,)
        if state.lines or state.ask != "open":
            return self._cancel(state, reading, now)
        return replace(state, ask="more", question="Anything else?"), ("All right. Is there anything else?",)


def _settled(state: State) -> State:
    """Words that come while an order is being placed find it unplaced again: what was placed is off the list."""
    return replace(state, ask="confirm", question="Shall I place the order?") if state.ask == "placing" else state
