"""What every `CallStore` must do. A test module gives a fixture `store` and inherits `StoreSuite`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from trunkline.calls.record import CallRecord
from trunkline.calls.store import ApiKey, Order
from trunkline.calls.store_sql import SqlStore
from trunkline.calls.turns import Turn
from trunkline.errors import StoreError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASHA = "+919812345678"
TURNS = (
    Turn(turn=0, agent_text="Hello, this is Rosa's.", heard_text="Hello, this", heard_s=0.8, interrupted=True),
    Turn(turn=1, caller_text="two pizzas, naïve 🍕", keys="2", tools=("place_order",), stages={"bridge": 0.001}),
)


def live(call_id: str = "c1", *, minute: int = 0, tenant: str = "t1", owner: str = "w1", **more: Any) -> CallRecord:
    """A call that is going on."""
    values = {
        "id": call_id,
        "tenant": tenant,
        "direction": "inbound",
        "carrier": "smartflo",
        "carrier_ref": f"ref-{call_id}",
        "from_": ASHA,
        "to": "+918069000000",
        "agent": "receptionist",
        "provider": "offline",
        "started_at": NOON + timedelta(minutes=minute),
        "answered_at": None,
        "owner": owner,
    }
    return CallRecord(**{**values, **more})


def ended(record: CallRecord, **more: Any) -> CallRecord:
    """The same call, over."""
    over = {
        "answered_at": record.started_at + timedelta(microseconds=1),
        "ended_at": record.started_at + timedelta(seconds=30),
        "cause": "completed",
        "fault": "nobody",
        "code": "16",
        "turns": TURNS,
        "usage": {"tts_characters": 120.0},
        "counters": {"odd_base64": 2},
        "labels": {"purpose": "order"},
        "recording": f"{record.id}.wav",
    }
    return msgspec.structs.replace(record, **{**over, **more})


def api_key(key_id: str = "k1", *, tenant: str = "t1", digest: str = "d1", minute: int = 0) -> ApiKey:
    """A key as stored."""
    return ApiKey(
        id=key_id,
        tenant=tenant,
        kind="prod",
        hash=digest,
        scopes=("calls:read",),
        label="laptop",
        created_at=NOON + timedelta(minutes=minute),
    )


async def order(store: SqlStore, **more: Any) -> tuple[Order, bool]:
    """One pizza for Asha, unless told otherwise."""
    values = {"tenant": "t1", "call_id": "c1", "turn": 1, "request_id": "r1"}
    content = {"customer_name": "Asha", "item": "Margherita", "quantity": 1}
    return await store.place_order(**{**values, **content, **more})


class StoreSuite:
    """Calls, orders, facts, keys, forgetting."""

    async def test_a_finished_call_reads_back_as_it_was_written(self, store: SqlStore) -> None:
        await store.begin(live())
        await store.finish(ended(live()))
        assert await store.call("t1", "c1") == ended(live())

    async def test_a_live_call_is_seen_before_its_end(self, store: SqlStore) -> None:
        await store.begin(live())
        assert await store.call("t1", "c1") == live()

    async def test_begin_and_finish_may_be_repeated_in_any_order(self, store: SqlStore) -> None:
        await store.finish(ended(live()))
        await store.begin(live())
        await store.finish(ended(live()))
        assert await store.calls("t1") == [ended(live())]

    async def test_another_tenant_sees_and_changes_nothing(self, store: SqlStore) -> None:
        await store.finish(ended(live()))
        await store.finish(ended(live(tenant="t2"), code="stolen"))
        assert await store.call("t2", "c1") is None
        assert await store.calls("t2") == []
        assert await store.call("t1", "c1") == ended(live())

    async def test_calls_come_newest_first_in_pages_without_loss_or_repeat(self, store: SqlStore) -> None:
        for number in range(7):
            await store.begin(live(f"c{number}", minute=number // 3))  # equal times among them
        pages, before = [], ""
        while page := await store.calls("t1", limit=2, before=before):
            pages.append([record.id for record in page])
            before = page[-1].id
        assert pages == [["c6", "c5"], ["c4", "c3"], ["c2", "c1"], ["c0"]]

    async def test_an_unknown_cursor_gives_nothing(self, store: SqlStore) -> None:
        await store.begin(live())
        assert await store.calls("t1", before="nobody") == []

    async def test_live_and_ended_calls_can_be_told_apart(self, store: SqlStore) -> None:
        await store.begin(live("c1"))
        await store.finish(ended(live("c2")))
        assert [record.id for record in await store.calls("t1", live=True)] == ["c1"]
        assert [record.id for record in await store.calls("t1", live=False)] == ["c2"]

    async def test_a_dead_workers_calls_are_ended_and_only_those(self, store: SqlStore) -> None:
        await store.begin(live("c1", owner="dead"))
        await store.begin(live("c2", owner="alive"))
        await store.finish(ended(live("c3", owner="dead")))
        assert await store.abandon("dead") == 1
        abandoned = await store.call("t1", "c1")
        assert abandoned is not None
        assert (abandoned.cause, abandoned.fault, abandoned.ended_at is None) == ("internal", "us", False)
        assert await store.call("t1", "c2") == live("c2", owner="alive")
        assert await store.abandon("dead") == 0

    async def test_text_that_no_database_takes_is_kept_readable(self, store: SqlStore) -> None:
        odd = "a\0b\ud800c\\u0000"
        turns = (Turn(turn=0, caller_text=odd),)
        await store.finish(ended(live(code=odd), code=odd, turns=turns, labels={odd: odd}))
        record = await store.call("t1", "c1")
        assert record is not None
        assert record.turns[0].caller_text == "a\ufffdb\ufffdc\\u0000"
        assert record.labels == {"a\ufffdb\ufffdc\\u0000": "a\ufffdb\ufffdc\\u0000"}

    async def test_a_time_without_zone_is_refused(self, store: SqlStore) -> None:
        with pytest.raises(StoreError, match="without zone"):
            await store.begin(live(started_at=NOON.replace(tzinfo=None)))

    async def test_fifty_orders_at_once_get_fifty_numbers_without_gaps(self, store: SqlStore) -> None:
        many = (order(store, call_id=f"c{n % 5}", request_id=f"r{n}", item=f"dish {n}") for n in range(50))
        placed = await asyncio.gather(*many)
        assert sorted(made.id for made, _ in placed) == [f"ORD-{n:05d}" for n in range(1, 51)]
        assert all(new for _, new in placed)

    async def test_the_same_request_twenty_times_at_once_is_one_order(self, store: SqlStore) -> None:
        placed = await asyncio.gather(*(order(store) for _ in range(20)))
        assert {made.id for made, _ in placed} == {"ORD-00001"}
        assert sum(new for _, new in placed) == 1
        assert len(await store.orders("t1")) == 1

    async def test_the_same_words_in_one_turn_are_one_order_whatever_the_request(self, store: SqlStore) -> None:
        await order(store)
        again, new = await order(store, request_id="r2", item="  margherita ", customer_name="ASHA")
        assert (again.id, new) == ("ORD-00001", False)

    async def test_the_same_request_with_other_words_is_the_first_order(self, store: SqlStore) -> None:
        await order(store)
        again, new = await order(store, turn=3, item="Calzone")
        assert (again.item, new) == ("Margherita", False)

    async def test_asked_again_in_a_later_turn_is_a_second_order(self, store: SqlStore) -> None:
        first, _ = await order(store)
        second, new = await order(store, turn=2, request_id="r2")
        assert (first.id, second.id, new) == ("ORD-00001", "ORD-00002", True)
        assert [made.id for made in await store.orders("t1")] == ["ORD-00002", "ORD-00001"]

    async def test_each_tenant_counts_from_one(self, store: SqlStore) -> None:
        await order(store)
        other, _ = await order(store, tenant="t2")
        assert other.id == "ORD-00001"
        assert await store.order("t2", "ORD-00002") is None

    async def test_an_order_is_for_who_placed_it(self, store: SqlStore) -> None:
        await store.begin(live("c1"))
        await store.begin(live("c3", direction="outbound", from_="+918069000000", to=ASHA))
        await store.begin(live("c4", from_=""))
        for call_id in ("c1", "c2", "c3", "c4"):
            await order(store, call_id=call_id)

        async def told(call_id: str, caller: str) -> list[int]:
            numbers = range(1, 5)
            found = [await store.order_for("t1", f"{n}", call_id=call_id, caller=caller) for n in numbers]
            return [number for number, order in zip(numbers, found, strict=True) if order]

        assert await told("new", ASHA) == [1, 3]
        assert await told("c2", "+15550100") == [2]
        assert await told("new", "+918069000000") == [], "our own number is no person's"
        assert await told("new", "") == [], "nobody's number is not everybody's"
        assert await store.order_for("t2", "1", call_id="c1", caller=ASHA) is None

    async def test_a_refused_order_leaves_no_gap(self, store: SqlStore) -> None:
        for quantity in (0, 100_001, 2**40):
            with pytest.raises(StoreError):
                await order(store, quantity=quantity, request_id=f"bad {quantity}")
        made, _ = await order(store)
        assert made.id == "ORD-00001"

    async def test_a_refused_write_does_not_harm_those_that_wait_beside_it(self, store: SqlStore) -> None:
        quantities = [1, 0, 2, 0, 3]
        jobs = (order(store, request_id=f"r{n}", item=f"i{n}", quantity=q) for n, q in enumerate(quantities))
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert [isinstance(result, StoreError) for result in results] == [False, True, False, True, False]
        assert {made.id for made in await store.orders("t1")} == {"ORD-00001", "ORD-00002", "ORD-00003"}

    @pytest.mark.parametrize("spoken", ["ORD-00001", "ord-00001", " ORD 00001", "ORD-1", "1"])
    async def test_an_order_is_found_as_people_say_its_number(self, store: SqlStore, spoken: str) -> None:
        made, _ = await order(store)
        assert await store.order("t1", spoken) == made

    @pytest.mark.parametrize("spoken", ["", "ORD-", "ORD-00002", "pizza", "9" * 30, "-1", "1 OR 1=1", "²"])
    async def test_what_is_no_order_is_none(self, store: SqlStore, spoken: str) -> None:
        await order(store)
        assert await store.order("t1", spoken) is None

    async def test_imported_orders_keep_their_numbers_and_new_ones_follow(self, store: SqlStore) -> None:
        first, _ = await order(store)
        old = [msgspec.structs.replace(first, id=f"ORD-{n:05d}", call_id="", item=f"old {n}") for n in (1, 4, 7)]
        assert await store.import_orders("t1", old) == 2
        assert await store.import_orders("t1", old) == 0
        made, _ = await order(store, request_id="r2", item="new")
        assert made.id == "ORD-00008"
        assert (await store.order("t1", "ORD-00001")) == first

    async def test_a_webhook_is_kept_once(self, store: SqlStore) -> None:
        body = {"$call_id": "x1", "event": "ringing"}
        assert await store.webhook("smartflo", "f1", body) is True
        assert await store.webhook("smartflo", "f1", {"call_id": "x1", "event": "other"}) is False
        assert await store.webhook("twilio", "f1", body) is True
        assert await store.webhooks("smartflo", "x1") == [body]

    async def test_the_same_webhook_ten_times_at_once_is_new_once(self, store: SqlStore) -> None:
        news = await asyncio.gather(*(store.webhook("smartflo", "f1", {"call_id": "x"}) for _ in range(10)))
        assert sum(news) == 1

    async def test_webhooks_come_in_order_of_arrival(self, store: SqlStore) -> None:
        for number in range(5):
            await store.webhook("smartflo", f"f{number}", {"call_id": "x1", "n": str(number)})
        assert [body["n"] for body in await store.webhooks("smartflo", "x1")] == ["0", "1", "2", "3", "4"]

    async def test_a_stranger_may_send_absurd_identifiers(self, store: SqlStore) -> None:
        long = "é\0" * 50_000
        assert await store.webhook("smartflo", long, {"call_id": long, "note": "\ud800"}) is True
        assert await store.webhook("smartflo", long, {"call_id": long}) is False
        assert len(await store.webhooks("smartflo", long)) == 1

    async def test_keys_are_found_by_hash_until_revoked(self, store: SqlStore) -> None:
        await store.add_key(api_key())
        assert await store.key_by_hash("d1") == api_key()
        assert await store.revoke_key("k1", NOON) is True
        assert await store.revoke_key("k1", NOON) is False
        assert await store.revoke_key("nobody", NOON) is False
        assert await store.key_by_hash("d1") is None
        assert [key.revoked_at for key in await store.keys()] == [NOON]

    async def test_keys_are_listed_newest_first_by_tenant(self, store: SqlStore) -> None:
        await store.add_key(api_key("k1", digest="d1"))
        await store.add_key(api_key("k2", digest="d2", minute=1))
        await store.add_key(api_key("k3", digest="d3", tenant="t2"))
        assert [key.id for key in await store.keys("t1")] == ["k2", "k1"]
        assert {key.id for key in await store.keys()} == {"k1", "k2", "k3"}

    async def test_a_hash_can_be_kept_once_only(self, store: SqlStore) -> None:
        await store.add_key(api_key())
        with pytest.raises(StoreError):
            await store.add_key(api_key("k2"))

    async def test_a_store_knows_itself(self, store: SqlStore) -> None:
        assert len(await store.fact("store_id") or "") == 32
        assert await store.fact("epoch") == "1"

    async def test_a_person_is_erased_by_number(self, store: SqlStore) -> None:
        await store.finish(ended(live("c1"), labels={"customer": "Asha"}))
        await store.finish(ended(live("c2", from_="+918069000000", to=ASHA)))
        await store.finish(ended(live("c3", from_="+14155550100")))
        await order(store)
        await store.webhook("smartflo", "f1", {"call_id": "ref-c1", "x": "1"})
        await store.webhook("smartflo", "f2", {"call_id": "other", "customer": "9812345678"})
        done = await store.erase("t1", "919812345678")
        assert (done.calls, done.orders, done.webhooks, done.live) == (2, 1, 1, 0)
        assert sorted(done.recordings) == ["c1.wav", "c2.wav"]
        await self._assert_gone(store)
        assert await store.call("t1", "c3") == ended(live("c3", from_="+14155550100"))
        again = await store.erase("t1", ASHA)
        assert (again.calls, again.orders) == (0, 0)

    async def _assert_gone(self, store: SqlStore) -> None:
        left = msgspec.json.encode(await store.call("t1", "c1")) + msgspec.json.encode(await store.call("t1", "c2"))
        left += msgspec.json.encode(await store.orders("t1"))
        for trace in (b"9812345678", b"pizza", b"Asha", b"Hello", b"wav"):
            assert trace not in left
        assert b'"heard_s":0.8' in left  # times stay

    async def test_webhooks_of_an_erased_person_are_emptied_and_still_known(self, store: SqlStore) -> None:
        await store.finish(ended(live("c1", tenant="default")))
        await store.webhook("smartflo", "f1", {"call_id": "ref-c1", "x": "1"})
        await store.webhook("smartflo", "f2", {"call_id": "elsewhere", "customer": "9812345678"})
        await store.webhook("smartflo", "f3", {"call_id": "elsewhere", "customer": "9800000000"})
        assert (await store.erase("default", ASHA)).webhooks == 2
        assert await store.webhooks("smartflo", "ref-c1") == [{}]
        assert await store.webhooks("smartflo", "elsewhere") == [{}, {"call_id": "elsewhere", "customer": "9800000000"}]
        assert await store.webhook("smartflo", "f1", {"call_id": "ref-c1"}) is False

    async def test_a_live_call_is_told_and_left_alone_by_erasure(self, store: SqlStore) -> None:
        await store.begin(live())
        assert (await store.erase("t1", ASHA)).live == 1
        assert await store.call("t1", "c1") == live()

    async def test_what_is_claimed_is_one_askers_alone(self, store: SqlStore) -> None:
        asked = await asyncio.gather(*(store.claim("sweep", "2026-01-31T12") for _ in range(8)))
        assert sum(asked) == 1
        assert await store.claim("sweep", "2026-01-31T11") is False, "an hour that is past is nobody's"
        assert await store.claim("sweep", "2026-01-31T13") is True
        assert await store.claim("dust", "2026-01-31T12") is True

    async def test_old_words_are_forgotten_and_figures_stay(self, store: SqlStore) -> None:
        await store.finish(ended(live("old")))
        await store.finish(ended(live("new", minute=60)))
        await store.begin(live("live"))
        assert await store.forget_before(NOON + timedelta(minutes=30)) == 1
        assert await store.forget_before(NOON + timedelta(minutes=30)) == 0
        old = await store.call("t1", "old")
        assert old is not None
        assert [turn.caller_text + turn.agent_text + turn.heard_text + turn.keys for turn in old.turns] == ["", ""]
        assert (old.from_, old.turns[0].heard_s) == (ASHA, 0.8)
        assert await store.call("t1", "new") == ended(live("new", minute=60))
