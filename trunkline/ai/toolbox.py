"""The built-in tools, and what every tool's call goes through: arguments checked against its schema, one time limit."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from trunkline.ai.business import DAYS, Business, MenuItem, Span
from trunkline.ai.session import ToolCall
from trunkline.ai.tools import TOOLS, CallControl, Json, Tool, ToolRequest, ToolResult
from trunkline.errors import ToolError

_log = structlog.get_logger(__name__)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
TRANSFER_S = 180.0  # a telephone rings for as long as it rings
MOST_OF_ONE_ITEM = 100


class PlacedOrder(Protocol):
    """An order as the book has it."""

    @property
    def id(self) -> str:
        """ORD-00001"""
        ...

    @property
    def customer_name(self) -> str:
        """For whom."""
        ...

    @property
    def item(self) -> str:
        """What."""
        ...

    @property
    def quantity(self) -> int:
        """How many."""
        ...

    @property
    def status(self) -> str:
        """How far it is: "received", …"""
        ...


class OrderBook(Protocol):
    """Where orders are kept; `trunkline.calls.store.CallStore` is one. Raises StoreError."""

    async def place_order(
        self, tenant: str, call_id: str, turn: int, request_id: str, *, customer_name: str, item: str, quantity: int
    ) -> tuple[PlacedOrder, bool]:
        """The order, and whether it is new: a retry (same call and request, or same call, turn and content) is not."""
        ...

    async def order_for(self, tenant: str, order_id: str, *, call_id: str, caller: str) -> PlacedOrder | None:
        """One order, if it was placed in this call or in another with the same caller's number; else None."""
        ...


def toolbox(
    business: Business, orders: OrderBook, *, transfer_to: str = "", extra: Mapping[str, Tool] = TOOLS
) -> dict[str, Tool]:
    """The built-in tools over this business and book, joined and overruled by `extra`.

    `transfer_to`: where transfer_call goes when it names no target; "" refuses that. The call's policy decides anyway.
    """
    built_in = (
        _info_tool(business),
        _place_tool(business, orders),
        _lookup_tool(business, orders),
        _end_tool(),
        _transfer_tool(transfer_to),
    )
    return {tool.name: tool for tool in built_in} | dict(extra)


async def run_tool(tools: Mapping[str, Tool], call: ToolCall, control: CallControl) -> ToolResult:
    """Run what the model asked for; whatever goes wrong becomes a `ToolResult.error` that the model can act on."""
    tool = tools.get(call.name)
    if tool is None:
        known = ", ".join(sorted(tools)) or "none"
        return ToolResult(call.id, call.name, error=f"There is no tool {call.name!r}; there are: {known}.")
    try:
        arguments = check_arguments(tool.parameters, call.arguments)
        async with asyncio.timeout(tool.timeout):
            value = await tool.func(ToolRequest(control, call.turn, call.id, arguments))
    except ToolError as exc:
        return ToolResult(call.id, call.name, error=str(exc))
    except TimeoutError:
        return ToolResult(call.id, call.name, error=f"{call.name} took longer than {tool.timeout:g} s and was stopped.")
    except Exception as exc:  # a tool is anybody's code: its failure must not end the call
        _log.error("tool.failed", tool=call.name, call=control.call_id, error=repr(exc), exc_info=exc)
        return ToolResult(call.id, call.name, error=f"{call.name} failed; apologise and offer something else.")
    return ToolResult(call.id, call.name, value)


# --- arguments ------------------------------------------------------------------------------------------------------


def check_arguments(schema: Mapping[str, Json], arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Arguments that fit the JSON schema (type, properties, required, enum, bounds, lengths, pattern, items, default).

    Numbers that a model sent as text are taken as numbers. Raises ToolError naming the field and what is allowed.
    """
    checked = _check("", schema, dict(arguments))
    assert isinstance(checked, dict)
    return checked


def _check(field: str, schema: Mapping[str, Json], value: Json) -> Json:
    kind = schema.get("type")
    if isinstance(kind, str):
        value = _typed(field, kind, value)
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        raise ToolError(f"{field}: {value!r} is not one of {', '.join(map(str, allowed))}.")
    if isinstance(value, dict):
        return _object(field, schema, value)
    if isinstance(value, list):
        items = schema.get("items")
        inner = items if isinstance(items, dict) else {}
        return [_check(f"{field}[{i}]", inner, item) for i, item in enumerate(value)]
    _bounds(field, schema, value)
    return value


def _typed(field: str, kind: str, value: Json) -> Json:
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind in ("integer", "number") and isinstance(value, str) and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", value):
        return _typed(field, kind, float(value))
    if not isinstance(value, _TYPES.get(kind, (object,))) or (isinstance(value, bool) and kind != "boolean"):
        raise ToolError(f"{field or 'arguments'}: {value!r} must be of type {kind}.")
    return value


def _object(field: str, schema: Mapping[str, Json], value: dict[str, Json]) -> dict[str, Json]:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    prefix = f"{field}." if field else ""
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if value.get(str(name)) is None:
            raise ToolError(f"{prefix}{name}: is required.")
    if schema.get("additionalProperties") is False:
        for name in value.keys() - known.keys():
            raise ToolError(f"{prefix}{name}: is unknown; allowed are {', '.join(known)}.")
    checked = dict(value)
    for name, inner in known.items():
        if not isinstance(inner, dict):
            continue
        if value.get(name) is not None:
            checked[name] = _check(prefix + name, inner, value[name])
        elif "default" in inner:
            checked[name] = inner["default"]
    return checked


def _bounds(field: str, schema: Mapping[str, Json], value: Json) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = schema.get("minimum"), schema.get("maximum")
        if isinstance(least, int | float) and value < least:
            raise ToolError(f"{field}: {value} is too small, the least is {least}.")
        if isinstance(most, int | float) and value > most:
            raise ToolError(f"{field}: {value} is too large, the most is {most}.")
    if isinstance(value, str):
        _text_bounds(field, schema, value)


def _text_bounds(field: str, schema: Mapping[str, Json], value: str) -> None:
    shortest, longest, pattern = schema.get("minLength"), schema.get("maxLength"), schema.get("pattern")
    if isinstance(shortest, int) and len(value.strip()) < shortest:
        raise ToolError(f"{field}: must not be empty." if shortest == 1 else f"{field}: is shorter than {shortest}.")
    if isinstance(longest, int) and len(value) > longest:
        raise ToolError(f"{field}: has {len(value)} characters, at most {longest} are allowed.")
    if isinstance(pattern, str) and re.search(pattern, value) is None:
        raise ToolError(f"{field}: {value!r} does not look like {pattern}.")


def _schema(required: Sequence[str] = (), **properties: Json) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


# --- get_business_info ----------------------------------------------------------------------------------------------


def _info_tool(business: Business) -> Tool:
    async def get_business_info(request: ToolRequest) -> Json:
        return business_info(business, str(request.arguments.get("topic", "all")))

    topic: Json = {"type": "string", "description": "hours, location, menu or pricing; anything else gives all"}
    return Tool(
        "get_business_info",
        "Opening hours, location, menu and prices of the business.",
        _schema(topic=topic),
        get_business_info,
    )


def business_info(business: Business, topic: str) -> Json:
    """What is known about a topic: hours, location, menu, pricing; any other word gives everything."""
    hours: Json = business.hours_text if business.week is None else _week(business.week)
    menu: Json = [item.name for item in business.menu]
    pricing: Json = {item.name: item.price for item in business.menu if item.price is not None}
    match topic.strip().lower():
        case "hours":
            return {"hours": hours}
        case "location":
            return {"location": business.location, "phone": business.phone}
        case "menu":
            return {"menu": menu}
        case "pricing" | "prices" | "price":
            return {"pricing": pricing, "currency": business.currency}
        case _:
            return {
                "name": business.name,
                "location": business.location,
                "phone": business.phone,
                "hours": hours,
                "menu": menu,
                "pricing": pricing,
                "currency": business.currency,
            }


def _week(week: Sequence[Sequence[Span]]) -> dict[str, Json]:
    return {day: ", ".join(map(_span, spans)) or "closed" for day, spans in zip(DAYS, week, strict=True)}


def _span(span: Span) -> str:
    return "-".join(f"{minutes // 60 % 24:02}:{minutes % 60:02}" for minutes in (span.opens, span.closes))


# --- place_order, lookup_order --------------------------------------------------------------------------------------


def _place_tool(business: Business, orders: OrderBook) -> Tool:
    async def place_order(request: ToolRequest) -> Json:
        arguments = check_arguments(schema, request.arguments)
        item = _menu_item(business, str(arguments["item"]))
        order, new = await orders.place_order(
            request.call.tenant,
            request.call.call_id,
            request.turn,
            request.id,
            customer_name=str(arguments["customer_name"]).strip(),
            item=item.name,
            quantity=int(str(arguments["quantity"])),
        )
        total = None if item.price is None else round(item.price * order.quantity, 2)
        return {**_order(order), "total": total, "currency": business.currency, "already_placed": not new}

    schema = _schema(
        ("customer_name", "item", "quantity"),
        customer_name={"type": "string", "minLength": 1, "maxLength": 80},
        item={"type": "string", "minLength": 1, "maxLength": 80, "description": "as on the menu"},
        quantity={"type": "integer", "minimum": 1, "maximum": MOST_OF_ONE_ITEM},
    )
    return Tool(
        "place_order",
        "Place an order once the customer has confirmed it. One item per call.",
        schema,
        place_order,
        effect="write",
        filler="One moment, please.",
        redact=frozenset({"customer_name"}),
    )


def _menu_item(business: Business, wanted: str) -> MenuItem:
    if not business.menu:
        return MenuItem(name=wanted.strip())
    key = _folded(wanted)
    for item in business.menu:
        if key in map(_folded, (item.name, f"{item.name} {item.category}", *item.aliases)):
            return item
    names = ", ".join(item.name for item in business.menu[:20])
    raise ToolError(f"item: {wanted!r} is not on the menu; there are: {names}.")


def _folded(text: str) -> str:
    words = re.findall(r"[^\W_]+", text.lower())
    return " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


def _lookup_tool(business: Business, orders: OrderBook) -> Tool:
    """Numbers are in sequence and easily guessed: an order is told to who placed it, or who calls from that number.

    The business file's own orders are for anybody, without the names.
    """

    async def lookup_order(request: ToolRequest) -> Json:
        arguments = check_arguments(schema, request.arguments)
        order_id = order_number(str(arguments["order_id"]))
        call = request.call
        order = await orders.order_for(call.tenant, order_id, call_id=call.call_id, caller=call.caller)
        if order is not None:
            return _order(order)
        for known in business.orders:
            if order_number(known.order_id) == order_id:
                return {
                    "order_id": order_id,
                    "item": known.item,
                    "quantity": known.quantity,
                    "status": known.status,
                }
        raise ToolError(f"order_id: there is no order {order_id}.")

    schema = _schema(("order_id",), order_id={"type": "string", "minLength": 1, "maxLength": 20})
    return Tool("lookup_order", "What became of an order, by its number (ORD-00001).", schema, lookup_order)


def order_number(spoken: str) -> str:
    """ "1", "ord 1", "ORD-00001" → "ORD-00001"; what holds no digits is returned as it is, in capitals."""
    digits = "".join(re.findall(r"\d", spoken))
    return f"ORD-{int(digits):05}" if digits else spoken.strip().upper()


def _order(order: PlacedOrder) -> dict[str, Json]:
    return {
        "order_id": order.id,
        "customer_name": order.customer_name,
        "item": order.item,
        "quantity": order.quantity,
        "status": order.status,
    }


# --- end_call, transfer_call ----------------------------------------------------------------------------------------


def _end_tool() -> Tool:
    async def end_call(request: ToolRequest) -> Json:
        await request.call.end()
        return {"status": "ending"}

    return Tool("end_call", "Hang up, after you have said goodbye.", _schema(), end_call, effect="write")


def _transfer_tool(transfer_to: str) -> Tool:
    async def transfer_call(request: ToolRequest) -> Json:
        target = str(request.arguments.get("target") or transfer_to)
        if not target:
            raise ToolError("target: calls cannot be transferred on this line; offer to take a message.")
        if request.arguments.get("warm"):
            await request.call.transfer(target, str(request.arguments.get("brief") or ""))
        else:
            await request.call.transfer(target)
        return {"status": "transferred"}

    target: Json = {"type": "string", "maxLength": 120, "description": "E.164 number or SIP URI; empty: the usual one"}
    warm: Json = {"type": "boolean", "description": "tell the person what it is about before the caller is put through"}
    brief: Json = {"type": "string", "maxLength": 1000, "description": "what the person is told, if warm"}
    return Tool(
        "transfer_call",
        "Hand the caller to a person.",
        _schema(target=target, warm=warm, brief=brief),
        transfer_call,
        timeout=TRANSFER_S,
        effect="write",
        filler="One moment, please.",
    )
