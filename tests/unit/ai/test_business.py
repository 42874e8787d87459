"""The business file: tolerant of what people write, exact about what is wrong."""

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from trunkline.ai.business import Span, business_schema, load_business, parse_business, sample_business
from trunkline.ai.offline import dialogue_phrases as say
from trunkline.errors import ConfigError


def shop(**fields: object) -> bytes:
    return json.dumps({"name": "Shop", **fields}).encode()


def test_the_sample_is_valid_and_lies_in_both_places() -> None:
    sample = sample_business()
    assert len(sample.menu) >= 12
    assert all(item.price for item in sample.menu)
    assert load_business("data/business_data.json") == sample
    assert load_business(None, data_dir="nowhere") == sample


def test_a_file_in_the_data_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "business_data.json").write_bytes(shop())
    assert load_business(None, data_dir=tmp_path).name == "Shop"


def test_the_earlier_assistants_fields_are_enough() -> None:
    business = parse_business(
        shop(
            location="Here",
            phone="1",
            hours="Mon-Fri 9 to 5",
            menu=["Tea", {"name": "Cake", "price": "$3.20"}],
            orders=[{"order_id": "ORD-00001", "customer_name": "A", "item": "Tea", "quantity": 1}],
            something_else=True,
        )
    )
    assert business.hours_text == "Mon-Fri 9 to 5"
    assert business.week is None
    assert [(item.name, item.price) for item in business.menu] == [("Tea", None), ("Cake", 3.2)]
    assert business.orders[0].status == "received"


@pytest.mark.parametrize(
    ("hours", "tuesday"),
    [
        ({"tuesday": "11:00-22:00"}, (Span(660, 1320),)),
        ({"tue": "11am - 10pm"}, (Span(660, 1320),)),
        ({"mon-fri": "9 a.m. to 5 p.m."}, (Span(540, 1020),)),
        ({"Weekdays": "12am-12pm"}, (Span(0, 720),)),
        ({"daily": "18:00-02:00"}, (Span(1080, 1560),)),
        ({"sat-wed": "11-14, 17-22"}, (Span(660, 840), Span(1020, 1320))),
        ({"monday": "9-5"}, ()),
        ({"tuesday": "closed"}, ()),
    ],
)
def test_hours_may_be_written_in_many_ways(hours: dict[str, str], tuesday: tuple[Span, ...]) -> None:
    week = parse_business(shop(hours=hours)).week
    assert week is not None
    assert week[1] == tuesday


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "this is not JSON"),
        (b"\xff", "this is not JSON"),
        (b"[]", "top level: Expected `object`, got `array`"),
        (b"{}", "top level: Object missing required field `name`"),
        (shop(name=" "), "name: must not be empty"),
        (shop(menu=[{"name": "Tea", "price": {}}]), "menu[0].price: Expected"),
        (shop(menu=[{"price": 3}]), "menu[0]: Object missing required field `name`"),
        (shop(menu=[{"name": "Tea", "price": "cheap"}]), "menu[0].price: 'cheap' is no price"),
        (shop(menu=[{"name": "Tea", "price": -1}]), "menu[0].price: -1.0 must lie between"),
        (shop(hours={"someday": "9-5"}), "hours.someday: unknown day"),
        (shop(hours={"mon": "nine to five"}), "hours.mon: cannot read 'nine to five'"),
        (shop(hours={"mon": "25:00-26:00"}), "hours.mon: cannot read"),
        (shop(hours={"mon": 9}), "hours[...]: Expected"),
        (shop(timezone="Mars/Base"), "timezone: 'Mars/Base' is unknown"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_business(data, "my.json")
    assert str(caught.value).startswith("my.json: " + message)


def test_a_missing_file_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ai\.offline\.business: cannot read"):
        load_business(tmp_path / "nothing.json")


def test_the_schema_has_the_earlier_fields() -> None:
    text = msgspec.json.encode(business_schema()).decode()
    assert all(f'"{name}"' in text for name in ("name", "location", "phone", "hours", "menu", "orders"))


@pytest.mark.parametrize(
    ("day", "hour", "answer"),
    [
        (23, 12, "Yes, we're open until 10 PM."),
        (23, 23, "We're closed right now. We open tomorrow at 11 AM."),
        (23, 9, "We're closed right now. We open today at 11 AM."),
        (28, 1, "Yes, we're open until 2 AM."),
        (28, 3, "We're closed right now. We open on Monday at 11 AM."),
    ],
)
def test_open_now(day: int, hour: int, answer: str) -> None:
    business = parse_business(shop(timezone="UTC", hours={"mon-thu": "11-22", "friday": "11:00-02:00"}))
    assert say.hours(business, "now", datetime(2026, 11, day, hour, tzinfo=UTC)) == answer


def test_the_clock_is_the_shops_own() -> None:
    business = parse_business(shop(timezone="Asia/Kolkata", hours={"tuesday": "9-17"}))
    assert say.hours(business, "today", datetime(2026, 11, 23, 20, tzinfo=UTC)) == "Today we're open from 9 AM to 5 PM."


def test_hours_as_a_sentence_are_read_out() -> None:
    assert (
        say.hours(parse_business(shop(hours="nine to five")), "now", datetime.now(UTC))
        == "Our hours are: nine to five."
    )


@pytest.mark.parametrize(
    ("quantity", "item", "said"),
    [(1, "Cola", "one Cola"), (2, "Pizza", "two Pizzas"), (30, "Garlic Bread", "30 Garlic Breads")],
)
def test_some(quantity: int, item: str, said: str) -> None:
    assert say.some(quantity, item) == said
