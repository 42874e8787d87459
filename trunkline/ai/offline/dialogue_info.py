"""What the receptionist tells of the shop: hours, place, menu, prices. Pure; then the open question again."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from trunkline.ai.business import Business, MenuItem
from trunkline.ai.offline import dialogue_phrases as say
from trunkline.ai.offline.dialogue_state import KEYS, Line, State, Step, examples
from trunkline.ai.offline.intents import Named, Reader, Reading

# A question for one thing, and none that the menu has: "do you have sushi", not "do you have a menu".
_HAVE_YOU: Final = re.compile(
    r"\bdo you (?:have|sell|serve|offer|do|got)(?: (?:a|an|any|some|the))? "
    r"(?!.*\b(?:menu|today|there|eat|drink|food|dish|dishes|deals?|specials?|options|sizes?|kinds?|sorts?|else|please)\b)\w+"
)


class Information:
    """Answers over one business. Holds no state of any call."""

    def __init__(self, business: Business, reader: Reader) -> None:
        self._shop = business
        self._reader = reader

    def hours(self, state: State, reading: Reading, now: datetime) -> Step:
        """The opening hours, of a day if one was named."""
        return self._back(state, say.hours(self._shop, reading.day, now))

    def location(self, state: State, reading: Reading, now: datetime) -> Step:
        """Where the shop is."""
        place = self._shop.location
        return self._back(state, f"We're at {place}." if place else "I'm sorry, I don't have our address here.")

    def contact(self, state: State, reading: Reading, now: datetime) -> Step:
        """Its telephone number."""
        phone = self._shop.phone
        return self._back(state, f"Our number is {phone}." if phone else "This is the number to call.")

    def menu(self, state: State, reading: Reading, now: datetime) -> Step:
        """What there is, of a kind if one was named; or something about one thing."""
        if reading.items:
            item = reading.items[0].item
            about = f", {item.description}" if item.description else ""
            state = replace(state, topic=item.name)
            return self._back(state, f"Yes, we have {item.name}{about}{self._at_price(item)}.")
        kinds = self._reader.kinds
        if reading.generic:
            return self._back(state, f"We have {say.short_names(kinds[reading.generic], reading.generic)}.")
        if _HAVE_YOU.search(reading.text):
            return self._back(state, f"I'm afraid that's not on our menu. We have {say.names(self._shop.menu, 3)}.")
        if not self._shop.menu:
            return self._back(state, "I'm sorry, I don't have the menu here.")
        first = next(iter(kinds), "")
        if not first:
            return self._back(state, f"We have {say.names(self._shop.menu)}.")
        rest = [item for item in self._shop.menu if item not in kinds[first]]
        more = f" Also {say.names(rest, 3)}." if rest else ""
        return self._back(state, f"We have {first}: {say.short_names(kinds[first], first, 4)}.{more}")

    def price(self, state: State, reading: Reading, now: datetime) -> Step:
        """What something costs, or from where to where prices go."""
        items = reading.items or (() if reading.generic else self._spoken_of(state))
        if items:
            state = replace(state, topic=items[0].item.name)
            return self._back(state, " ".join(map(self._costs, items)))
        known = self._reader.kinds.get(reading.generic, self._shop.menu)
        prices = sorted(item.price for item in known if item.price is not None)
        if not prices:
            return self._back(state, "I'm sorry, I don't have the prices here.")
        what = say.plural(reading.generic.capitalize()) if reading.generic else "Our prices"
        verb = "cost" if reading.generic else "go"
        low, high = (say.price(self._shop, amount) for amount in (prices[0], prices[-1]))
        return self._back(state, f"{what} {verb} from {low} to {high}. Which one would you like to know?")

    def reservation(self, state: State, reading: Reading, now: datetime) -> Step:
        """Tables cannot be booked here."""
        return self._back(state, "I'm sorry, I can't book tables. Press 0 for a person, or I can take an order.")

    def robot(self, state: State, reading: Reading, now: datetime) -> Step:
        """The truth."""
        answer = f"I'm an automated assistant of {self._shop.name}, not a person."
        return self._back(state, answer if state.question else f"{answer} How can I help?")

    def help(self, state: State, reading: Reading, now: datetime) -> Step:
        """What can be asked."""
        if state.question and state.ask != "more":
            return state, (examples(state), state.question)
        return state, (f"You can ask for our hours, where we are, the menu or a price, or order something. {KEYS}",)

    def _back(self, state: State, answer: str) -> Step:
        """An answer, then the question that was open."""
        return state, (answer, state.question) if state.question and state.ask != "more" else (answer,)

    def _spoken_of(self, state: State) -> Sequence[Named]:
        lines = state.lines or ((Line(state.topic),) if state.topic else state.placed)
        return [Named(item, line.quantity) for line in lines if (item := self._item(line.item)) is not None]

    def _costs(self, named: Named) -> str:
        if named.item.price is None:
            return f"I don't have a price for {named.item.name}."
        many = named.quantity or 1
        total = say.price(self._shop, named.item.price * many)
        return f"{say.some(many, named.item.name).capitalize() if many > 1 else named.item.name}: {total}."

    def _at_price(self, item: MenuItem) -> str:
        return "" if item.price is None else f", for {say.price(self._shop, item.price)}"

    def _item(self, name: str) -> MenuItem | None:
        return next((item for item in self._shop.menu if item.name == name), None)
