"""What a caller's sentence means: ordered patterns over its text, and the things of the shop that it names. Pure.

The other side of the contract is `grammar.INTENT_EXAMPLES`: each of its sentences must be read as its intent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from trunkline.ai.business import DAYS, Business, MenuItem

_UNITS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
NUMBERS: Final[Mapping[str, int]] = {
    word: i for i, word in enumerate((_UNITS + " eighteen nineteen twenty").split(), start=1)
}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMERALS = frozenset((*NUMBERS, *_TENS, "hundred", "thousand"))
_SIZES = ("small", "medium", "large")
_MORE = re.compile(r"\b(another|(one|two|three|four|five|six) more|the same again|same again)\b")

# Order is meaning: the first that matches wins.
_PATTERNS: Final[Sequence[tuple[str, re.Pattern[str]]]] = [
    (intent, re.compile(pattern))
    for intent, pattern in (
        ("goodbye", r"\b(good ?bye|bye|hang up|have a (nice|good|great) (day|evening|night)|see you)\b"),
        ("robot", r"\bare you (a |an )?(real |actual |live )?(robot|machine|computer|bot|human|person|ai|recording)\b"),
        ("robot", r"\b(who are you|am i (talking|speaking) (to|with))\b"),
        ("reservation", r"\b(reservations?|reserve|book (a|me|us)|table for|a table)\b"),
        ("human", r"\b(person|human|someone|somebody|manager|operator|agent|representative|transfer me|connect me)\b"),
        ("human", r"\bput me through\b"),
        ("cancel", r"\b(cancel|never ?mind|forget (it|that|about it)|start (over|again)|stop)\b"),
        ("order_status", r"\border (status|number|id)\b|\bstatus\b|\b(is|where's|where is|until|about|on) my order\b"),
        ("order_status", r"\bcheck (on )?(my |the |an )?order\b|\babout (my |an )?order\b|\bo r d\b|\bmy order is\b"),
        ("repeat", r"\b(repeat|say (that|it) again|come again|pardon|excuse me|what did you say)\b"),
        ("repeat", r"\b(did ?n.?t|could ?n.?t|can.?t) (catch|hear|get|understand)\b|\bdon.?t understand\b"),
        ("repeat", r"^(sorry|what|huh|eh|sorry sorry|sorry what|what sorry|what was that|sorry what was that)$"),
        ("contact", r"\b(phone number|telephone number|your number|reach you|call you)\b"),
        ("location", r"\b(location|address|directions?|where|parking|park|get there|find you|located)\b"),
        ("menu", r"\bwhat can i order\b|\bwhat('s| is| comes) (on|in|with) (a|an|the|your)\b|\btell me about\b"),
        ("price", r"\b(how much|prices?|pricing|costs?|how expensive|total)\b"),
        ("hours", r"\b(hours|open|opens|opening|close|closes|closed|closing|how late|what time)\b"),
        ("menu", r"\b(menu|recommend|what (kinds?|sorts?)|what else|do you (have|sell|serve|offer|do|got))\b"),
        ("help", r"\b(help|what can (you|i)|how does this work|what do you do)\b"),
        ("name", r"^(my name is|the name is|name is|this is|it's for|it is for)\b"),
    )
]
_LATE_PATTERNS: Final[Sequence[tuple[str, re.Pattern[str]]]] = [
    (intent, re.compile(pattern))
    for intent, pattern in (
        ("no", r"^(no|nope|nah|not really|not today|nothing( else)?|that's (all|it|everything|wrong|not right))\b"),
        ("no", r"^(that (is|will be|'ll be) (all|it|everything)|i'm (good|fine|done))\b"),
        ("thanks", r"^((okay|ok|great|alright|all right|good|perfect) )*(thank you|thanks)\b"),
        ("yes", r"^(yes|yeah|yep|yup|sure|okay|ok|correct|right|that's (right|correct|it)|of course|go ahead)\b"),
        ("yes", r"^(sounds good|perfect|i do|please do|absolutely|exactly|definitely|fine|that is (right|correct))\b"),
        (
            "greeting",
            r"^(hi|hello|hey|good (morning|evening|afternoon)|is anybody there|can you hear me|how are you)\b",
        ),
    )
]
_ORDERING = re.compile(
    r"\b(order|can i (get|have)|could i (get|have)|i'?d like|i would like|i'?ll (have|take|get)|give me|i want|i need|"
    r"let me (get|have)|another|(one|two|three) more|same again|add|pick ?up|to go|takeaway|take out|delivery)\b"
)
_CORRECTING = re.compile(r"^(no|actually|i said|i meant|not|make (it|that)|change (it|that) to)\b")
_DROPPING = re.compile(
    r"\b(?:remove|drop|delete|cancel|scratch|forget|without|no more|leave (?:out|off)|take (?:off|out|away)|"
    r"(?:don't|do not) (?:want|need))(?: (?:the|a|an|any|my|that|those))* (.+)$"
)
_FULL_NAME = re.compile(
    r"\b(?:my name is|my name's|the name is|under the name(?: of)?) ([a-z']{2,}(?: [a-z']{2,}){1,4})$"
)
_NOT_IN_A_NAME = frozenset("and can could would want like order please what how do you have not".split())  # noqa: SIM905
_NAME = re.compile(
    r"\b(?:my name is|the name is|name is|it's for|it is for|put it under|under the name(?: of)?|this is|i'm|i am|"
    r"it's|for)"
    r" ((?:[a-z]\b ?){3,}|[a-z']{2,}(?: [a-z']{2,})?)$"
)
_NOT_A_NAME = (
    "pickup delivery tonight today tomorrow now me us you two three four five six lunch dinner good fine done that it",
    "a the an one not just here there my your please calling right wrong all is wondering hungry looking",
)
_NO_NAME = frozenset(word for line in _NOT_A_NAME for word in line.split())
# Nobody is called so; and "that's all" is not a name either.
_NO_BARE_NAME = _NO_NAME | frozenset(
    ["yes", "yeah", "no", "wait", "hold", "think", "know", "what", "who", "both", "same", "free"]
)
_FILLER_FRONT = re.compile(r"^(?:(?:hi|hello|hey|hello there|okay|ok|um|uh|er|well|so|please|and|yes please) )+")
_FILLER_BACK = re.compile(r"(?: (?:please|thanks|thank you|um|uh))+$")


@dataclass(frozen=True, slots=True)
class Named:
    """A thing of the menu that was named, and how many of it, if that was said."""

    item: MenuItem
    quantity: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was made of a sentence. `intent`: a key of INTENT_EXAMPLES, "robot", or "" for nothing known."""

    text: str
    intent: str
    items: tuple[Named, ...] = ()
    generic: str = ""  # "pizza", "salad": a kind, not a thing
    quantity: int | None = None  # a number that belongs to no named thing
    name: str = ""  # introduced as a name ("it's for Maria")
    bare: str = ""  # the sentence as a name, should a name be what was asked for
    day: str = ""
    digits: str = ""  # all numbers in a row, as digits
    size: str = ""
    more: bool = False  # another one
    drops: bool = False  # the named things are not wanted any more


class Reader:
    """Reads sentences about one business."""

    def __init__(self, business: Business) -> None:
        self._business = business

    @cached_property
    def _phrases(self) -> Sequence[tuple[tuple[str, ...], MenuItem]]:
        """Word sequences that name an item, longest first."""
        found: list[tuple[tuple[str, ...], MenuItem]] = []
        for item in self._business.menu:
            words = tuple(map(folded, _words(item.name)))
            found.append((words, item))
            if len(words) > 1 and words[-1] in self.kinds:
                found.append((words[:-1], item))
            found += [(tuple(map(folded, _words(alias))), item) for alias in item.aliases]
        return sorted((entry for entry in found if entry[0]), key=lambda entry: -len(entry[0]))

    @cached_property
    def kinds(self) -> Mapping[str, tuple[MenuItem, ...]]:
        """Things of a kind: by the last word that several names share, and by category."""
        shared: dict[str, list[MenuItem]] = {}
        categories: dict[str, list[MenuItem]] = {}
        for item in self._business.menu:
            shared.setdefault(folded(_words(item.name)[-1]), []).append(item)
            if item.category:
                categories.setdefault(folded(item.category.lower()), []).append(item)
        kinds = {kind: items for kind, items in shared.items() if len(items) > 1}
        return {kind: tuple(items) for kind, items in (kinds | categories).items()}

    def read(self, text: str) -> Reading:
        """What the sentence says; punctuation and case do not matter."""
        plain = _plain(text)
        core = _FILLER_BACK.sub("", _FILLER_FRONT.sub("", plain)) or plain
        words = _folded(core)
        items, rest = self._items(words)
        quantity = _number(rest)
        if len(items) == 1 and items[0].quantity is None and quantity is not None:
            items, quantity = (Named(items[0].item, quantity),), None
        generic = "" if items else next((word for word in rest if word in self.kinds), "")
        if generic and quantity is None:
            quantity = _number(rest[: rest.index(generic)])
        return Reading(
            text=plain,
            intent=_intent(core, plain, bool(items or generic), quantity),
            items=items,
            generic=generic,
            quantity=quantity,
            name=_name(core),
            bare=_bare(core),
            day=_day(core),
            digits=_digits(core.split()),
            size=next((word for word in rest if word in _SIZES), ""),
            more=_MORE.search(core) is not None,
            drops=self._drops(core, items),
        )

    def _drops(self, core: str, items: Sequence[Named]) -> bool:
        """Whether all that was named was named behind words such as "remove the"."""
        found = _DROPPING.search(core)
        return found is not None and bool(items) and len(self._items(_folded(found[1]))[0]) == len(items)

    def _items(self, words: Sequence[str]) -> tuple[tuple[Named, ...], list[str]]:
        """Named things with their numbers, the same thing said twice once; and the words that are left."""
        found: dict[str, Named] = {}
        rest: list[str] = []
        since: list[str] = []  # words since the last named thing
        at = 0
        while at < len(words):
            hit = next((entry for entry in self._phrases if tuple(words[at : at + len(entry[0])]) == entry[0]), None)
            if hit is None:
                since.append(words[at])
                at += 1
                continue
            number = _number(since)
            earlier = found.get(hit[1].name)
            if earlier is None or earlier.quantity is None:
                found[hit[1].name] = Named(hit[1], number)
            rest += [word for word in since if number is None or word not in _NUMERALS]
            since = []
            at += len(hit[0])
        return tuple(found.values()), rest + since


def folded(word: str) -> str:
    """The word in the singular, as far as its ending tells; the same for both sides of a comparison."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses")) else word[:-1]


def _folded(text: str) -> list[str]:
    return [folded(word) for word in text.split()]


def _plain(text: str) -> str:
    lowered = text.lower().replace("’", "'").replace("-", " ").replace("&", " and ")
    return " ".join(re.sub(r"[^\w' ]+", " ", lowered).split())


def _words(text: str) -> list[str]:
    return _plain(text).split()


def _intent(core: str, plain: str, names_things: bool, quantity: int | None) -> str:
    for intent, pattern in _PATTERNS:
        if pattern.search(core):
            return intent
    if _CORRECTING.search(core) and (names_things or quantity is not None):
        return "correction"
    for intent, pattern in _LATE_PATTERNS[:2]:
        if pattern.search(core):
            return intent
    if names_things or _ORDERING.search(core):
        return "order"
    for intent, pattern in _LATE_PATTERNS[2:]:
        if pattern.search(core) or pattern.search(plain):
            return intent
    if quantity is not None:
        return "quantity"
    return "name" if _name(core) else ""


def _number(words: Sequence[str]) -> int | None:
    """The quantity that a few words say, "a" and "another" being one; None without any."""
    text = " ".join(words)
    if re.search(r"\bhalf (a )?dozen\b", text):
        return 6
    if re.search(r"\bdozen\b", text):
        return 12
    if re.search(r"\b(a )?couple\b", text):
        return 2
    spelled = _last_number(words)
    if spelled is not None:
        return spelled
    last = [word for word in words if word in ("a", "an", "another")]
    return 1 if last and words[-1] in (*last, *_SIZES) else None


def _last_number(words: Sequence[str]) -> int | None:
    """ "two" → 2, "twenty five" → 25, "two hundred and ten" → 210; of several the last."""
    found, at = None, 0
    while at < len(words):
        value, after = _spelled(words, at)
        found, at = (found, at + 1) if after == at else (value, after)
    return found


def _spelled(words: Sequence[str], at: int) -> tuple[int, int]:
    """The number that begins there, and the place behind it; the same place where none does."""
    value, after = _below_hundred(words, at)
    for word, times in (("thousand", 1000), ("hundred", 100)):
        if after < len(words) and words[after] == word:
            joint = after + 2 if words[after + 1 : after + 2] == ["and"] else after + 1
            rest, behind = _below_hundred(words, joint)
            return max(value, 1) * times + rest, behind if behind > joint else after + 1
    return value, after


def _below_hundred(words: Sequence[str], at: int) -> tuple[int, int]:
    word = words[at] if at < len(words) else ""
    if word.isascii() and word.isdigit() and len(word) <= 3:
        return int(word), at + 1
    if word not in _TENS:
        return (NUMBERS[word], at + 1) if word in NUMBERS else (0, at)
    units = NUMBERS.get(words[at + 1], 10) if at + 1 < len(words) else 10
    return (_TENS.index(word) + 2) * 10 + units % 10, at + (2 if units < 10 else 1)


def _digits(words: Sequence[str]) -> str:
    found = before = ""
    for word in words:
        if word.isascii() and word.isdigit():
            found += word
        elif word in _TENS:
            found += str(_TENS.index(word) + 2) + "0"
        elif word in NUMBERS and NUMBERS[word] < 10 and found.endswith("0") and before in _TENS:
            found = found[:-1] + str(NUMBERS[word])
        elif word in NUMBERS:
            found += str(NUMBERS[word])
        elif word in ("zero", "oh") or (word == "o" and found):
            found += "0"
        before = word
    return found


def _name(core: str) -> str:
    full = _FULL_NAME.search(core)
    if full is not None and not _NOT_IN_A_NAME.intersection(full[1].split()):
        return _as_name(full[1])
    found = _NAME.search(core)
    if found is None or found[1].split()[0] in _NO_NAME or found[1].split()[0] in NUMBERS:
        return ""
    return _as_name(found[1])


def _bare(core: str) -> str:
    words = core.split()
    if not words or (len(words) > 3 and any(len(word) > 1 for word in words)):
        return ""
    spelled = all(len(word) == 1 for word in words)
    if any(word in _NUMERALS or word.isdigit() for word in words):
        return ""
    if not spelled and any(word in _NO_BARE_NAME or word.endswith(("'ll", "'s", "'d", "'m", "n't")) for word in words):
        return ""
    return _as_name(core)


def _as_name(text: str) -> str:
    words = text.split()
    return (
        "".join(words).capitalize()
        if all(len(word) == 1 for word in words)
        else " ".join(word.capitalize() for word in words)
    )


def _day(core: str) -> str:
    for word in core.split():
        day = word.removesuffix("s").removesuffix("'")
        if day in DAYS or day in ("today", "tonight", "tomorrow", "weekend", "weekday", "holiday", "christma"):
            return "christmas" if day == "christma" else day
    return "now" if re.search(r"\b(now|still open|at the moment)\b", core) else ""
