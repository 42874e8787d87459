"""Tools: arguments are checked, retries order once, whatever fails becomes an answer to the model."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from tests.fakes.orders import MemoryCall, MemoryOrders
from tests.virtual_time import virtual
from trunkline.ai.business import Business, KnownOrder, sample_business
from trunkline.ai.session import ToolCall
from trunkline.ai.toolbox import business_info, check_arguments, order_number, run_tool, toolbox
from trunkline.ai.tools import TOOLS, Json, Tool, ToolRequest, ToolResult, tool
from trunkline.errors import ToolError

SHOP = sample_business()
ORDER: dict[str, Json] = {"customer_name": "Sam", "item": "Margherita Pizza", "quantity": 2}


class Desk:
    def __init__(self, shop: Business = SHOP, **options: str) -> None:
        self.orders = MemoryOrders()
        self.call = MemoryCall()
        self.tools = toolbox(shop, self.orders, extra={}, **options)

    async def use(self, name: str, arguments: Mapping[str, Json], *, turn: int = 1, id_: str = "a") -> ToolResult:
        return await run_tool(self.tools, ToolCall(id_, name, arguments, turn), self.call)


async def test_the_built_in_tools() -> None:
    assert list(Desk().tools) == ["get_business_info", "place_order", "lookup_order", "end_call", "transfer_call"]
    assert {name for name, tool in Desk().tools.items() if tool.effect == "write"} == {
        "place_order",
        "end_call",
        "transfer_call",
    }


async def test_an_order_is_numbered_and_priced() -> None:
    result = await Desk().use("place_order", ORDER)
    assert result.value == {
        "order_id": "ORD-00001",
        "customer_name": "Sam",
        "item": "Margherita Pizza",
        "quantity": 2,
        "status": "received",
        "total": 19.0,
        "currency": "$",
        "already_placed": False,
    }


async def test_a_retry_orders_once_and_a_later_turn_again() -> None:
    desk = Desk()
    first = await desk.use("place_order", ORDER)
    same_id = await desk.use("place_order", ORDER)
    same_turn = await desk.use("place_order", ORDER, id_="b")
    later = await desk.use("place_order", ORDER, id_="c", turn=2)
    ids = [result.value["order_id"] for result in (first, same_id, same_turn, later)]  # type: ignore[index, call-overload]
    assert ids == ["ORD-00001", "ORD-00001", "ORD-00001", "ORD-00002"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"item": "Lasagna", "quantity": 1}, "customer_name: is required."),
        (ORDER | {"customer_name": "  "}, "customer_name: must not be empty."),
        (ORDER | {"quantity": 0}, "quantity: 0 is too small, the least is 1."),
        (ORDER | {"quantity": 1000}, "quantity: 1000 is too large, the most is 100."),
        (ORDER | {"quantity": 1.5}, "quantity: 1.5 must be of type integer."),
        (ORDER | {"quantity": True}, "quantity: True must be of type integer."),
        (ORDER | {"quantity": "many"}, "quantity: 'many' must be of type integer."),
        (ORDER | {"size": "large"}, "size: is unknown; allowed are customer_name, item, quantity."),
        (ORDER | {"item": "sushi"}, "item: 'sushi' is not on the menu; there are: Margherita Pizza"),
        (ORDER | {"item": 3}, "item: 3 must be of type string."),
    ],
)
async def test_wrong_arguments_name_the_field(arguments: Mapping[str, Json], message: str) -> None:
    desk = Desk()
    result = await desk.use("place_order", arguments)
    assert result.error.startswith(message)
    assert desk.orders.placed == []


@pytest.mark.parametrize("arguments", [ORDER | {"quantity": "2"}, ORDER | {"quantity": 2.0}])
async def test_numbers_that_came_as_text_are_numbers(arguments: Mapping[str, Json]) -> None:
    desk = Desk()
    assert (await desk.use("place_order", arguments)).error == ""
    assert desk.orders.placed[0].quantity == 2


@pytest.mark.parametrize("item", ["margherita pizza", "Margherita Pizzas", "margarita", "cheese pizza"])
async def test_the_item_is_stored_as_the_menu_has_it(item: str) -> None:
    desk = Desk()
    await desk.use("place_order", ORDER | {"item": item})
    assert desk.orders.placed[0].item == "Margherita Pizza"


@pytest.mark.parametrize("spoken", ["1", "ORD-1", "ord 00001", "O R D 0 0 0 0 1", "ORD-00001"])
async def test_an_order_is_found_by_its_number_however_it_is_said(spoken: str) -> None:
    desk = Desk()
    await desk.use("place_order", ORDER)
    found = await desk.use("lookup_order", {"order_id": spoken})
    assert found.value == {
        "order_id": "ORD-00001",
        "customer_name": "Sam",
        "item": "Margherita Pizza",
        "quantity": 2,
        "status": "received",
    }


async def test_somebody_elses_order_is_no_order() -> None:
    desk = Desk()
    await desk.use("place_order", ORDER)
    desk.orders.callers["call-1"] = "+15550100"
    desk.call = MemoryCall(call_id="call-2", caller="+15550199")
    other = await desk.use("lookup_order", {"order_id": "1"})
    assert (other.value, other.error) == (None, "order_id: there is no order ORD-00001.")
    desk.call = MemoryCall(call_id="call-3", caller="+15550100")
    assert (await desk.use("lookup_order", {"order_id": "1"})).error == ""


async def test_an_order_of_the_business_file_is_told_without_its_name() -> None:
    order = KnownOrder(order_id="ORD-00042", customer_name="Ida", item="Lemonade", quantity=2, status="ready")
    desk = Desk(msgspec.structs.replace(SHOP, orders=(order,)))
    found = await desk.use("lookup_order", {"order_id": "42"})
    assert found.value == {"order_id": "ORD-00042", "item": "Lemonade", "quantity": 2, "status": "ready"}


async def test_an_unknown_order_says_so() -> None:
    assert (await Desk().use("lookup_order", {"order_id": "77"})).error == "order_id: there is no order ORD-00077."
    assert order_number("abc") == "ABC"


async def test_business_info_by_topic() -> None:
    assert business_info(SHOP, "location") == {"location": SHOP.location, "phone": SHOP.phone}
    hours = business_info(SHOP, "Hours")
    assert isinstance(hours, dict)
    assert hours["hours"]["sunday"] == "12:00-21:00"  # type: ignore[index, call-overload]
    assert set(business_info(SHOP, "weather")) == set(business_info(SHOP, "all"))  # type: ignore[arg-type]
    result = await Desk().use("get_business_info", {"topic": "pricing"})
    assert result.value["pricing"]["Cola"] == 2.5  # type: ignore[index, call-overload]


async def test_the_call_is_ended_and_transferred_by_the_call() -> None:
    desk = Desk(transfer_to="+15550199")
    await desk.use("end_call", {})
    await desk.use("transfer_call", {})
    assert (desk.call.ended, desk.call.transfers) == (1, ["+15550199"])


async def test_a_transfer_without_a_target_is_refused() -> None:
    assert (await Desk().use("transfer_call", {})).error.startswith("target: calls cannot be transferred")


async def test_an_unknown_tool_lists_the_known() -> None:
    assert (await Desk().use("fly", {})).error.startswith("There is no tool 'fly'; there are: end_call")


@virtual
async def test_a_tool_has_its_time_and_no_more() -> None:
    async def forever(request: ToolRequest) -> Json:
        await asyncio.sleep(1e6)
        return None

    slow = Tool("slow", "", {"type": "object"}, forever, timeout=3.0)
    result = await run_tool({"slow": slow}, ToolCall("a", "slow", {}, 1), MemoryCall())
    assert result.error == "slow took longer than 3 s and was stopped."


async def test_a_tool_that_breaks_does_not_break_the_call() -> None:
    async def broken(request: ToolRequest) -> Json:
        raise ZeroDivisionError

    result = await run_tool({"b": Tool("b", "", {}, broken)}, ToolCall("a", "b", {}, 1), MemoryCall())
    assert result == ToolResult("a", "b", error="b failed; apologise and offer something else.")


async def test_a_tool_by_decorator_and_by_dict() -> None:
    """The example of the documentation."""
    registry: dict[str, Tool] = {}
    schema: dict[str, Json] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    @tool("Find a table reservation by the guest's name.", schema, registry=registry)
    async def lookup_reservation(request: ToolRequest) -> Json:
        return {"name": request.arguments["name"], "table": 4}

    registry["again"] = Tool("again", "The same by hand.", schema, lookup_reservation.func)
    tools = toolbox(SHOP, MemoryOrders(), extra=registry)
    for name in ("lookup_reservation", "again"):
        result = await run_tool(tools, ToolCall("a", name, {"name": "Ida"}, 1), MemoryCall())
        assert result.value == {"name": "Ida", "table": 4}
    assert lookup_reservation.name not in TOOLS


def test_schemas_nest_and_default() -> None:
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {
            "when": {"type": "object", "properties": {"day": {"enum": ["mon", "tue"]}}, "required": ["day"]},
            "seats": {"type": "array", "items": {"type": "integer"}},
            "note": {"type": "string", "default": "none", "maxLength": 5, "pattern": "^n"},
        },
    }
    assert check_arguments(schema, {"seats": ["1", 2]}) == {"seats": [1, 2], "note": "none"}
    for wrong, message in (
        ({"when": {"day": "sun"}}, "when.day: 'sun' is not one of mon, tue."),
        ({"when": {}}, "when.day: is required."),
        ({"seats": [1, "x"]}, "seats[1]: 'x' must be of type integer."),
        ({"note": "nothing"}, "note: has 7 characters, at most 5 are allowed."),
        ({"note": "x"}, "note: 'x' does not look like ^n."),
    ):
        with pytest.raises(ToolError) as caught:
            check_arguments(schema, wrong)  # type: ignore[arg-type]
        assert str(caught.value) == message
