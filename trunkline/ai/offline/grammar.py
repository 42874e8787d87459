"""What callers of a small shop say, as templates: the recogniser's language and the receptionist's contract.

A *domain* is built from the shop's business data (name, menu, …). For each dialogue state a *grammar* is a set of
weighted templates, expanded into sentences (`sentences`) from which `ngram.arpa` makes a trigram model.

What the recogniser hands to the receptionist is text made of this module's words and nothing else:

* lower case, no punctuation but the apostrophe of contractions ("i'd", "what's"); letters spelled alone are single
  letters ("o r d one two"); numbers are words: quantities "one" … "twenty", digits "zero" or "oh" … "nine".
* a menu item appears as the words of its name (`words`), singular or with a plural "s" on its last word, and, where
  its last word is shared by several items ("margherita pizza", "pepperoni pizza"), also without that word
  ("margherita") and as the shared word alone ("another pizza please").
* sizes are "small", "medium", "large", and those that the menu names; days are "monday" … "sunday", "today",
  "tomorrow", "tonight", "the weekend", "weekdays", "weekends", "christmas day", "holidays".
* fillers may stand in front or behind: "hi", "hello", "okay", "um", "well", "so", "please", "thanks".

Grammars (`GRAMMARS`), chosen by `RecogniserStream.expect`. Each is a *preference*, not a cage: every one can also
hear the open sentences, with less weight, so a caller may change the subject.

=========  ==========================================================================================
open       anything of INTENT_EXAMPLES
yes_no     yes, no and their many forms, corrections ("no two please"), repeat, cancel
number     quantities 1–20 ("two", "just one", "make it three please")
digits     digit strings ("one two three", "o r d zero zero one two", "order number five")
name       first names ("john", "it's for maria", "my name is david"), spelled letters
item       menu items with quantity and size, without a verb ("two large margheritas please")
=========  ==========================================================================================
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from trunkline.ai.business import Business

GRAMMARS = ("open", "yes_no", "number", "digits", "name", "item")

# Per intent: sentences that the recogniser can hear and the receptionist must match (over a menu of margherita pizza,
# pepperoni pizza, caesar salad, garlic bread and lemonade). Tests hold both sides to this table.
INTENT_EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "hours": (
        "hours",
        "what are your hours",
        "what are your opening hours please",
        "opening hours",
        "what time do you open",
        "what time do you open on sunday",
        "what time do you close tonight",
        "when do you close",
        "when are you open",
        "are you open tomorrow",
        "are you open on monday",
        "are you open now",
        "are you still open",
        "are you closed on sundays",
        "how late are you open on friday",
        "until when are you open today",
        "do you open on the weekend",
        "could you tell me your opening times",
        "i'd like to know your hours",
    ),
    "location": (
        "location",
        "address",
        "directions",
        "where are you",
        "where are you located",
        "what is your address",
        "what's the address please",
        "how do i get there",
        "how can i find you",
        "can you give me directions",
        "where is the restaurant",
        "where can i find you",
        "is there parking",
    ),
    "contact": (
        "what is your phone number",
        "what's your number",
        "can i have your phone number",
        "how can i reach you",
    ),
    "menu": (
        "menu",
        "what's on the menu",
        "what do you have",
        "what do you serve",
        "what can i order",
        "what kind of pizza do you have",
        "can you read me the menu",
        "tell me the menu please",
        "what pizzas do you have",
        "do you have caesar salad",
        "do you have any salads",
        "what else do you have",
        "what do you recommend",
    ),
    "price": (
        "how much is the margherita pizza",
        "how much is a margherita",
        "what does a caesar salad cost",
        "what is the price of garlic bread",
        "price of the lemonade",
        "how much are the pizzas",
        "how much for two pepperoni pizzas",
        "what are your prices",
        "how much does it cost",
        "how much is it",
        "how much is that",
    ),
    "order": (
        "order",
        "i want to order",
        "i'd like to order please",
        "can i order",
        "i would like to place an order",
        "i'd like to order a pizza",
        "i'd like a margherita pizza please",
        "i'd like two large margherita pizzas please",
        "can i get a caesar salad",
        "could i have three garlic breads please",
        "one pepperoni pizza please",
        "two lemonades",
        "give me a small pepperoni",
        "i'll have a margherita",
        "i'll take two pepperoni pizzas and a lemonade",
        "another pizza please",
        "and a garlic bread please",
        "one more margherita please",
        "let me get a large pepperoni pizza",
        "a pizza please",
        "add a lemonade",
        "i need two pizzas for pickup",
    ),
    "order_status": (
        "where is my order",
        "what's the status of my order",
        "order status",
        "is my order ready",
        "i'm calling about my order",
        "i want to check on my order",
        "my order number is o r d zero zero one two",
        "can you check order number twelve",
        "i'd like to check order one two three",
        "what about order number five",
        "how long until my order is ready",
    ),
    "cancel": (
        "cancel",
        "cancel that",
        "never mind",
        "forget it",
        "cancel my order please",
        "i want to cancel my order",
        "stop",
        "start over",
    ),
    "reservation": (
        "i'd like to make a reservation",
        "can i book a table",
        "i want to reserve a table for four",
        "book a table for two tonight please",
        "do you take reservations",
        "table for two",
    ),
    "human": (
        "can i speak to a person",
        "i want to talk to someone",
        "speak to the manager please",
        "operator",
        "agent",
        "a real person please",
        "let me talk to a human",
        "connect me to someone",
        "can you transfer me",
    ),
    "help": (
        "help",
        "what can you do",
        "what can i say",
        "what can i ask",
        "can you help me",
        "i need help",
        "how does this work",
        "who are you",
        "are you a robot",
        "who am i talking to",
    ),
    "repeat": (
        "repeat",
        "repeat that please",
        "could you repeat that",
        "sorry",
        "sorry what",
        "what",
        "what did you say",
        "pardon",
        "pardon me",
        "excuse me",
        "say that again please",
        "can you say that again",
        "come again",
        "i didn't catch that",
        "i didn't hear you",
        "i don't understand",
    ),
    "yes": (
        "yes",
        "yes please",
        "yeah",
        "yep",
        "sure",
        "okay",
        "correct",
        "that's right",
        "that's correct",
        "right",
        "yes that's right",
        "of course",
        "go ahead",
        "sounds good",
        "yes please do",
        "i do",
        "perfect",
    ),
    "no": (
        "no",
        "no thanks",
        "no thank you",
        "nope",
        "nah",
        "that's wrong",
        "that's not right",
        "no that's wrong",
        "not really",
        "no that's all",
        "no that's it",
        "nothing else",
        "that's all",
        "that's everything",
        "i'm good",
        "not today",
    ),
    "correction": (
        "no two please",
        "no a pepperoni pizza",
        "i said two",
        "i meant a small one",
        "make it three",
        "make that two",
        "no i want a caesar salad",
        "actually two please",
    ),
    "quantity": (
        "two",
        "just one",
        "one please",
        "three of them",
        "make it three please",
        "a couple",
        "half a dozen",
        "twelve",
    ),
    "name": (
        "john",
        "my name is maria",
        "it's for david",
        "it's john",
        "this is sarah",
        "for anna please",
        "the name is peter",
        "i'm michael",
    ),
    "greeting": (
        "hi",
        "hello",
        "hello there",
        "good morning",
        "good evening",
        "hey",
        "is anybody there",
        "can you hear me",
        "how are you",
    ),
    "thanks": (
        "thank you",
        "thanks",
        "thanks a lot",
        "thank you very much",
        "great thanks",
        "okay thank you",
    ),
    "goodbye": (
        "goodbye",
        "bye",
        "bye bye",
        "thank you goodbye",
        "thanks bye",
        "that's all goodbye",
        "have a nice day",
        "see you later",
        "hang up",
    ),
}

_GROUP_WORDS: Final = ("desserts", "drinks", "starters", "sides", "salads", "specials")
# kinds of which nobody orders "one" or "a margherita dessert"
_ABSTRACT: Final = frozenset("side drink dessert starter main special appetizer beverage pasta other".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Item:
    """One dish in spoken words. `singular` and `plural`: all ways of saying one, and several of it."""

    singular: tuple[str, ...]
    plural: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """What is special about one shop: everything a grammar is made of beside the templates."""

    items: tuple[Item, ...]
    categories: tuple[str, ...]  # plural: "pizzas", "desserts"
    sizes: tuple[str, ...] = ("small", "medium", "large", "regular", "big")


def words(text: str) -> str:
    """Menu text as the recogniser spells it: lower case, letters and apostrophes; "&" is "and"."""
    text = text.lower().replace("&", " and ").replace("’", "'")
    return " ".join(re.sub(r"[^a-z' ]+", " ", text).split())


def plural(phrase: str) -> str:
    """The last word in the plural: "garlic bread" → "garlic breads", "dosa" → "dosas", "dish" → "dishes"."""
    head, space, last = phrase.rpartition(" ")
    if last.endswith(("s", "sh", "ch", "x")):
        last = last if last.endswith("s") and not last.endswith("ss") else last + "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return head + space + last


def domain(business: Business) -> Domain:
    """The speakable side of a shop's data. An empty menu gives a domain that can order nothing by name."""
    heads = [words(item.name).split()[-1] for item in business.menu if len(words(item.name).split()) > 1]
    shared = {head for head in heads if heads.count(head) > 1}
    groups = {_singular(words(item.category)) for item in business.menu if words(item.category)}
    items = [_item(item.name, item.aliases, _singular(words(item.category)), shared) for item in business.menu]
    generic = sorted(shared | {group for group in groups if _counted(group, business)})
    items += [Item((word,), (plural(word),)) for word in generic]
    categories = dict.fromkeys([*(plural(word) for word in sorted({*generic, *groups} - {""})), *_GROUP_WORDS])
    return Domain(tuple(item for item in items if item.singular), tuple(categories))


def _singular(group: str) -> str:
    return group[:-1] if group.endswith("s") and not group.endswith("ss") else group


def _counted(group: str, business: Business) -> bool:
    """Whether callers order "a {group}": a pizza, but not a side."""
    members = [item for item in business.menu if _singular(words(item.category)) == group]
    return bool(group) and group not in _ABSTRACT and len(members) > 1


def _item(name: str, aliases: Sequence[str], group: str, shared: set[str]) -> Item:
    spoken = words(name)
    if not spoken:
        return Item((), ())
    forms = [spoken, *(words(alias) for alias in aliases)]
    *front, last = spoken.split()
    if front and last in shared:
        forms.append(" ".join(front))
    elif group and group not in _ABSTRACT and group not in spoken.split():
        forms.append(f"{spoken} {group}")
    singular = tuple(dict.fromkeys(form for form in forms if form))
    return Item(singular, tuple(dict.fromkeys(plural(form) for form in singular)))


@cache
def first_names() -> tuple[str, ...]:
    """The first names that the recogniser knows, lower case."""
    return tuple(resources.files("trunkline.ai.offline").joinpath("first_names.txt").read_text("utf-8").split())
