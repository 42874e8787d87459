"""The receptionist's dialogues as small scripts: what the caller says, what is answered and used."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.fakes.orders import MemoryCall, MemoryOrders
from trunkline.ai.business import Business, parse_business, sample_business
from trunkline.ai.cascade.protocols import ModelToolCall, TextDelta
from trunkline.ai.history import History
from trunkline.ai.offline.grammar import INTENT_EXAMPLES
from trunkline.ai.offline.intents import Reader
from trunkline.ai.offline.receptionist import Receptionist
from trunkline.ai.session import ReplyId, ToolCall
from trunkline.ai.toolbox import run_tool, toolbox


class FixedClock:
    """A Saturday, 13:00 UTC."""

    def __init__(self, now: datetime = datetime(2026, 11, 21, 13, tzinfo=UTC)) -> None:
        self.now = now

    def monotonic(self) -> float:
        return 0.0

    def utcnow(self) -> datetime:
        return self.now

    async def sleep_until(self, deadline: float) -> None:
        raise AssertionError("a receptionist does not wait")


class Talk:
    """A conversation in text: one `step` is one turn of the caller with all that comes of it."""

    def __init__(self, business: Business | None = None, *, can_transfer: bool = False) -> None:
        shop = business or parse_business(SHOP)
        self.orders = MemoryOrders()
        self.call = MemoryCall()
        self.tools = toolbox(shop, self.orders, transfer_to="+15550199" if can_transfer else "", extra={})
        self.clock = FixedClock()
        self.model = Receptionist(shop, self.clock).open("", {})
        self.history = History()
        self.turn = 0
        self.replies = 0

    async def says(self, text: str, *, accepted: bool = True) -> str:
        self.turn += 1
        self.history.caller(self.turn, text, accepted=accepted)
        return await self.respond()

    async def key(self, key: str) -> str:
        self.history.key(self.turn, key)
        return await self.respond()

    async def occasion(self, occasion: str) -> str:
        self.history.occasion(self.turn, occasion)
        return await self.respond()

    async def respond(self) -> str:
        self.replies += 1
        reply, said = ReplyId(f"r{self.replies}"), ""
        for _ in range(6):
            calls = []
            async for event in self.model.respond(self.history.entries(), list(self.tools.values())):
                if isinstance(event, TextDelta):
                    self.history.clause(reply, self.turn, event.text.strip())
                    said += event.text
                else:
                    calls.append(event)
            if not calls:
                break
            for call in calls:
                said += await self.use(call)
        return said.strip()

    async def use(self, call: ModelToolCall) -> str:
        self.history.tool_call(self.turn, call)
        wanted = ToolCall(call.id, call.name, call.arguments, self.turn)
        self.history.tool_result(self.turn, await run_tool(self.tools, wanted, self.call))
        return f"<{call.name}> "

    def state(self) -> str:
        return self.model.state().grammar


SHOP = b"""{
  "name": "Bella Napoli", "location": "12 Harbour Street", "phone": "+1 555 010 0199", "timezone": "UTC",
  "hours": {
    "mon-thu": "11:00-22:00", "friday": "11am-11:30pm", "saturday": "11:00-14:30, 17:00-23:30", "sunday": "closed"
  },
  "menu": [
    {"name": "Margherita Pizza", "price": 9.5, "category": "pizza", "aliases": ["cheese pizza"]},
    {"name": "Pepperoni Pizza", "price": "11.50", "category": "pizza"},
    {"name": "Caesar Salad", "price": 7, "category": "salad"},
    {"name": "Garlic Bread", "price": 4.5, "category": "side"},
    {"name": "Lemonade", "price": 3, "category": "drink"}
  ],
  "orders": [{"order_id": "ORD-00042", "customer_name": "Ida", "item": "Lemonade", "quantity": 2, "status": "ready"}]
}"""

# Each script: lines of "> caller", "! not understood", "# key", "@ occasion"; then what the reply must match.
SCRIPTS: dict[str, str] = {
    "greeting is honest and first": """
        @ greeting
        ^Hello, this is Bella Napoli\\. .*automated assistant.*How can I help\\?
    """,
    "hours": """
        > what are your hours
        ^Today we're open from 11 AM to 2:30 PM and from 5 PM to 11:30 PM\\. Monday to Thursday from 11 AM to 10 PM\\.
        > are you open on sunday
        ^On Sunday we're closed\\.$
        > are you open now
        ^Yes, we're open until 2:30 PM\\.$
        > what about tomorrow are you open
        ^Tomorrow we're closed\\.$
        > what time do you close on friday
        ^On Friday we're open from 11 AM to 11:30 PM\\.$
    """,
    "where": """
        > where are you located
        ^We're at 12 Harbour Street\\.$
        > what is your phone number
        555 010 0199
    """,
    "menu and prices": """
        > what's on the menu
        Margherita and Pepperoni.*Caesar Salad, Garlic Bread and Lemonade
        > do you have caesar salad
        ^Yes, we have Caesar Salad, for \\$7\\.$
        > how much is it
        ^Caesar Salad: \\$7\\.$
        > how much is a margherita
        ^Margherita Pizza: \\$9\\.50\\.$
        > how much are the pizzas
        \\$9\\.50 to \\$11\\.50
        > how much for two pepperoni pizzas
        \\$23\\.$
    """,
    "order in one breath": """
        > i'd like two margheritas for sam please
        ^So that's two Margherita Pizzas for Sam, \\$19 in all\\. Shall I place the order\\?$
        > yes please
        ^<place_order> Done\\. Your order number is 1\\. Anything else\\?$
        > no thanks that's all
        ^Thank you for calling\\. Goodbye! <end_call>$
    """,
    "order, one thing at a time": """
        > i want to order a pizza
        ^Which pizza\\? We have Margherita and Pepperoni\\.$
        > pepperoni
        ^What name is it for\\?$
        > my name is maria
        ^So that's one Pepperoni Pizza for Maria
        > no
        ^What should I change
        > make it three
        ^So that's three Pepperoni Pizzas for Maria
        > correct
        <place_order> Done
    """,
    "how many is asked": """
        > can i get margherita
        ^How many Margherita Pizzas\\?$
        > a couple
        ^What name is it for\\?$
        > s a m
        two Margherita Pizzas for Sam
        > that's right
        <place_order>
    """,
    "several things": """
        > i'll take two pepperoni pizzas and a lemonade
        ^What name is it for\\?$
        > it's for david
        two Pepperoni Pizzas and one Lemonade for David, \\$26 in all
        > sure
        ^<place_order> <place_order> Done\\. Your order numbers are 1 and 2\\.
    """,
    "correction at the confirmation": """
        > two margheritas for sam
        Shall I place
        > no three please
        ^So that's three Margherita Pizzas for Sam
        > no i want a caesar salad
        ^So that's one Caesar Salad for Sam
        > it's for tom
        ^So that's one Caesar Salad for Tom
        > yes
        <place_order>
    """,
    "the same thing said twice in a turn is one thing": """
        > two margheritas please two margheritas please for sam
        ^So that's two Margherita Pizzas for Sam
        > yes
        ^<place_order> Done
    """,
    "a question in the middle comes back": """
        > two margheritas please
        ^What name
        > when do you close tonight
        ^Today we're open .* What name is it for\\?$
        > sorry what
        ^Today we're open .* What name is it for\\?$
        > anna
        two Margherita Pizzas for Anna
    """,
    "another one": """
        > two margheritas for sam
        Shall I
        > yes
        number is 1
        > another pizza please
        ^So that's one Margherita Pizza for Sam
        > yes
        ^<place_order> Done\\. Your order number is 2
        > and two more pepperoni
        ^So that's two Pepperoni Pizzas for Sam
        > never mind
        ^All right, I've dropped that\\. Anything else\\?$
        > bye
        <end_call>
    """,
    "order status": """
        > is my order ready
        ^What's your order number
        > forty two
        ^<lookup_order> Order 42, two Lemonades, is ready\\. Anything else\\?$
        > can you check order number zero zero nine
        ^<lookup_order> I can't find an order
    """,
    "order status by keys": """
        # 5
        ^What's your order number
        # 4
        ^$
        # 2
        ^$
        # #
        ^<lookup_order> Order 42
    """,
    "robot": """
        > are you a robot
        ^I'm an automated assistant of Bella Napoli, not a person\\. How can I help\\?$
        > who am i talking to
        automated
    """,
    "human, refused": """
        > can i speak to a person
        ^One moment, please\\. <transfer_call> I'm sorry, I can't put you through from here\\. You can reach us at
    """,
    "reservation": """
        > book a table for two tonight please
        can't book tables
    """,
    "repair climbs": """
        ! mumble
        ^Sorry\\?$
        ! mumble
        You can say: what are your hours
        ! mumble
        ^Let's use the keys\\. Press 1 for our hours
        ! mumble
        call us again
        > hours
        ^Today
        ! x
        ^Sorry\\?$
    """,
    "repair inside a question": """
        > two margheritas for sam
        Shall I place
        ! mumble
        ^Sorry, I didn't get that\\. Shall I place the order\\?$
        ! mumble
        Say yes, or press 1
        # 1
        <place_order> Done
    """,
    "words without a meaning here": """
        > purple elephants dancing
        ^Sorry, I didn't get that\\.$
        > can i pay by card
        ^I'm sorry, I don't know that\\. I know our hours
    """,
    "nobody is kept in a loop": """
        ! mumble
        ^Sorry
        ! mumble
        You can say
        ! mumble
        ^Let's use the keys
        ! mumble
        ^I'm sorry, I don't understand\\. Press
        ! mumble
        ^I'm sorry, I don't understand
        ! mumble
        ^I'm sorry, this isn't working\\. Goodbye! <end_call>$
    """,
    "the same question is not asked for ever": """
        > two margheritas please
        ^What name is it for\\?$
        > yes
        ^What name is it for\\?$
        > thank you
        ^Sorry, I still didn't get that\\. Say a first name
        > yes
        ^So that's two Margherita Pizzas for Phone guest
    """,
    "every part that can be changed is understood": """
        > two margheritas for sam
        Shall I place
        > no
        ^What should I change: the item, how many, or the name\\?$
        > how many
        ^How many Margherita Pizzas\\?$
        > three
        ^So that's three Margherita Pizzas for Sam
        > no
        ^What should I change
        > the name
        ^What name
        > tom
        ^So that's three Margherita Pizzas for Tom
        > no
        ^What should I change
        > the item
        ^What would you like
        > a lemonade
        ^So that's one Lemonade for Tom
    """,
    "what is taken back is not ordered": """
        > a margherita and a lemonade for sam
        ^So that's one Margherita Pizza and one Lemonade for Sam
        > no lemonade
        ^So that's one Margherita Pizza for Sam, \\$9\\.50
        > remove the lemonade
        ^There's no Lemonade in your order\\. Shall I place the order\\?$
        > and two lemonades
        ^So that's one Margherita Pizza and two Lemonades for Sam
        > cancel the margherita
        ^So that's two Lemonades for Sam
        > i don't want the lemonades
        ^All right, I've dropped that\\. What would you like instead\\?$
    """,
    "more of it is added, not set": """
        > two margheritas please
        ^What name
        > one more margherita
        ^What name
        > another pizza please
        ^What name
        > sam
        ^So that's four Margherita Pizzas for Sam
        > make it four pizzas
        ^So that's four Margherita Pizzas for Sam
        > another salad
        ^Which salad\\?
        # 1
        ^So that's four Margherita Pizzas and one Caesar Salad for Sam
    """,
    "stop is said to the voice, not to the order": """
        > two margheritas please
        ^What name
        > stop
        ^All right\\. What name is it for\\?$
        > sam
        ^So that's two Margherita Pizzas for Sam
    """,
    "nothing to cancel": """
        > cancel
        ^There's nothing to cancel
    """,
    "numbers beyond twenty": """
        > twenty five lemonades for sam
        ^So that's 25 Lemonades for Sam
        > no two hundred
        ^I can take one to 100\\. How many\\?$
        > a hundred
        ^So that's 100 Lemonades
        > no thirty
        ^So that's 30 Lemonades
    """,
    "that one": """
        > how much is the caesar salad
        ^Caesar Salad: \\$7\\.$
        > i'll take one
        ^What name
        > can i get that
        ^What name is it for\\?$
        > my name is jean pierre van der berg
        ^So that's one Caesar Salad for Jean Pierre Van Der Berg
        > what's the total
        ^So that's one Caesar Salad .*\\$7 in all
    """,
    "a dish that is not there": """
        > do you have sushi
        ^I'm afraid that's not on our menu\\. We have Margherita
        > what's on the pepperoni
        ^Yes, we have Pepperoni Pizza
    """,
    "two questions at once": """
        > where are you and are you open on sunday
        ^We're at 12 Harbour Street\\. On Sunday we're closed\\.$
    """,
    "this call's own order is known": """
        > two lemonades for sam
        Shall I
        > yes
        Done
        > what's my order number
        ^Your order number is 1\\. Anything else\\?$
        > where is my order
        ^<lookup_order> Order 1, two Lemonades, is received
        > the same again
        ^So that's two Lemonades for Sam
    """,
    "no name is no name": """
        > a lemonade please
        ^What name
        > that's all
        for Phone guest
        > no
        ^What should I change
        > the name
        ^What name
        > i don't want to give my name
        for Phone guest
    """,
    "keys all the way": """
        # 1
        ^Today
        # 2
        Harbour
        # 3
        Margherita
        # 4
        ^What would you like\\?
        # 2
        ^How many Pepperoni Pizzas\\?$
        # 3
        ^What name
        # #
        What name
        # 7
        ^So that's three Pepperoni Pizzas for Phone guest
        # 1
        <place_order> Done
        # 9
        Goodbye! <end_call>
    """,
    "no name": """
        > one lemonade please
        What name
        > no
        for Phone guest
    """,
    "silence": """
        @ silence
        ^Are you still there\\?
        @ silence
        Press 1 for our hours
        > two margheritas
        What name
        @ silence
        ^Are you still there\\? What name is it for\\?$
    """,
    "cancel and goodbye with an open order": """
        > two margheritas for sam
        Shall I
        > goodbye
        ^I haven't placed the order\\. Thank you for calling\\. Goodbye! <end_call>$
    """,
    "thanks and greeting": """
        > hello
        ^Hello! How can I help\\?$
        > thank you
        ^You're welcome\\. Anything else\\?$
        > yes
        ^Sure\\. What can I do for you\\?$
        > what can you do
        hours.*Press 1
    """,
    "too many": """
        > 500 lemonades for sam
        I can take one to 100
        > ten
        ten Lemonades for Sam
    """,
    "a placed order cannot be cancelled here": """
        > one lemonade for sam
        Shall
        > yes
        Done
        > cancel my order
        can't cancel
    """,
}


def _lines(script: str) -> Sequence[tuple[str, str, str]]:
    lines = [line.strip() for line in script.strip().splitlines()]
    return [(lines[i][0], lines[i][2:], lines[i + 1]) for i in range(0, len(lines), 2)]


@pytest.mark.parametrize("name", SCRIPTS)
async def test_dialogue(name: str) -> None:
    talk = Talk()
    for kind, said, expected in _lines(SCRIPTS[name]):
        match kind:
            case ">":
                reply = await talk.says(said)
            case "!":
                reply = await talk.says(said, accepted=False)
            case "#":
                reply = await talk.key(said)
            case _:
                reply = await talk.occasion(said)
        assert re.search(expected, reply), f"{kind} {said!r}: {reply!r} does not match {expected!r}"


def test_dialogue_scripts_have_forty_lines_and_more() -> None:
    assert sum(len(_lines(script)) for script in SCRIPTS.values()) >= 80


async def test_what_is_placed_is_what_was_confirmed() -> None:
    talk = Talk()
    await talk.says("i'll take two pepperoni pizzas and a lemonade for sam")
    assert talk.orders.placed == []
    await talk.says("yes")
    assert [(o.item, o.quantity, o.customer_name, o.turn) for o in talk.orders.placed] == [
        ("Pepperoni Pizza", 2, "Sam", 2),
        ("Lemonade", 1, "Sam", 2),
    ]


async def test_again_in_a_later_turn_orders_again() -> None:
    talk = Talk()
    for line in ("a margherita for sam", "yes", "another pizza please", "yes"):
        await talk.says(line)
    assert [o.id for o in talk.orders.placed] == ["ORD-00001", "ORD-00002"]
    assert {o.item for o in talk.orders.placed} == {"Margherita Pizza"}


async def test_transfer_where_it_is_allowed() -> None:
    talk = Talk(can_transfer=True)
    assert await talk.says("a real person please") == "One moment, please. <transfer_call>"
    assert talk.call.transfers == ["+15550199"]


async def test_news_that_was_cut_is_told_with_the_next_reply() -> None:
    talk = Talk()
    await talk.says("a margherita for sam")
    await talk.says("yes")
    talk.history.cut(ReplyId("r2"), 0.0)
    assert await talk.says("what are your hours") == (
        "Done. Your order number is 1. Anything else? " + await Talk().says("what are your hours")
    )


async def test_a_failed_order_is_not_called_done() -> None:
    talk = Talk()

    async def refuse(*args: object, **fields: object) -> None:
        raise OSError("disk full")

    talk.orders.place_order = refuse  # type: ignore[method-assign, assignment]
    await talk.says("a margherita for sam")
    assert "couldn't place that order. Shall I try once more?" in await talk.says("yes")


async def test_hints_for_recogniser_and_turn_taker() -> None:
    talk = Talk()
    heard = []
    for line in ("what can you do", "i want to order", "margherita", "two", "sam", "yes"):
        await talk.says(line)
        heard.append((talk.state(), talk.model.state().patience_s))
    assert heard == [
        ("open", None),
        ("item", None),
        ("number", 0.35),
        ("name", None),
        ("yes_no", 0.35),
        ("open", None),
    ]
    asked = Talk()
    await asked.says("where is my order")
    assert asked.state() == "digits"


async def test_the_same_history_gives_the_same_reply() -> None:
    talk = Talk()
    await talk.says("two margheritas for sam")
    first = [event async for event in talk.model.respond(talk.history.entries()[:1], ())]
    assert first == [event async for event in talk.model.respond(talk.history.entries()[:1], ())]


SAME = {"quantity": {"quantity", "correction"}, "help": {"help", "robot"}, "name": {"name", ""}}


@pytest.mark.parametrize("intent", INTENT_EXAMPLES)
def test_every_sentence_of_the_grammar_is_understood(intent: str) -> None:
    reader = Reader(sample_business())
    allowed = SAME.get(intent, {intent})
    wrong = {text: reader.read(text).intent for text in INTENT_EXAMPLES[intent]}
    assert {text: found for text, found in wrong.items() if found not in allowed} == {}


def test_names_and_numbers_are_found_in_the_examples() -> None:
    reader = Reader(sample_business())
    assert [reader.read(text).name or reader.read(text).bare for text in INTENT_EXAMPLES["name"]] == [
        "John",
        "Maria",
        "David",
        "John",
        "Sarah",
        "Anna",
        "Peter",
        "Michael",
    ]
    assert [reader.read(text).quantity for text in INTENT_EXAMPLES["quantity"]] == [2, 1, 1, 3, 3, 2, 6, 12]
