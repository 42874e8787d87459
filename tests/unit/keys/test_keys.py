"""API keys: form, hash, scopes, and how long a revoked one lives."""

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from trunkline import api_base, keys
from trunkline.calls.store import ApiKey
from trunkline.calls.store_sql import open_store
from trunkline.errors import ConfigError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Shelf:
    """A store of keys that counts how often it is asked."""

    def __init__(self, *kept: ApiKey) -> None:
        self.kept = {key.hash: key for key in kept}
        self.asked = 0

    async def key_by_hash(self, digest: str) -> ApiKey | None:
        self.asked += 1
        key = self.kept.get(digest)
        return key if key and key.revoked_at is None else None

    async def keys(self, tenant: str | None = None) -> list[ApiKey]:
        return list(self.kept.values())


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return NOW

    async def sleep_until(self, deadline: float) -> None:
        self.now = deadline


@pytest.mark.parametrize("kind", keys.KINDS)
def test_a_key_has_the_old_prefix_and_is_never_the_same(kind: str) -> None:
    made = {keys.make(kind, now=NOW)[0] for _ in range(50)}
    assert len(made) == 50
    assert all(text.startswith(f"sk_{kind}_") and keys.well_formed(text) for text in made)


def test_what_is_kept_holds_nothing_of_the_key() -> None:
    text, key = keys.make("prod", label="laptop", now=NOW)
    kept = msgspec.json.encode(key).decode()
    assert text.removeprefix("sk_prod_")[:8] not in kept
    assert key.hash == keys.digest(text)
    assert key.id not in text


def test_a_mistyped_key_is_told_without_the_store() -> None:
    text, _ = keys.make("prod", now=NOW)
    swapped = {text[:n] + ("a" if text[n] != "a" else "b") + text[n + 1 :] for n in range(8, len(text))}
    wrong = [
        *swapped,
        "",
        "sk_prod_",
        text + "\n",
        text.replace("prod", "root"),
        text.upper(),
        "é" * 46,
        "sk_prod_" * 9,
    ]
    assert [presented for presented in wrong if keys.well_formed(presented)] == []


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (("calls:read",), ("calls:read",)),
        (("calls",), ("calls:read", "calls:write")),
        (("events", "calls:read"), ("calls:read", "events:read")),
        (("synthesize", "voices", "upload"), ("synthesize", "voices", "upload")),
        (("admin",), tuple(keys.SCOPES)),
        ((), keys.DEFAULT_SCOPES),
    ],
)
def test_scopes_and_the_earlier_permissions(asked: tuple[str, ...], granted: tuple[str, ...]) -> None:
    assert keys.make("prod", scopes=asked, now=NOW)[1].scopes == granted


def test_an_admin_key_may_do_everything_and_others_what_they_were_given() -> None:
    admin, prod = keys.make("admin", now=NOW)[1], keys.make("prod", now=NOW)[1]
    assert all(keys.allows(admin, scope) for scope in keys.SCOPES)
    assert keys.allows(prod, "calls:read")
    assert not keys.allows(prod, "keys:write")


def test_what_the_api_asks_for_can_be_granted() -> None:
    assert set(get_args(api_base.Scope)) <= set(keys.SCOPES)


@pytest.mark.parametrize("wrong", [{"kind": "root"}, {"scopes": ["calls:rea"]}, {"tenant": ""}])
def test_a_wrong_word_is_told_with_what_is_allowed(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must"):
        keys.make(**{"kind": "prod", "now": NOW, **wrong})  # type: ignore[arg-type]


async def test_a_good_key_is_remembered_for_a_short_while_only() -> None:
    text, key = keys.make("prod", now=NOW)
    shelf, clock = Shelf(key), Hand()
    ring = keys.Keyring(shelf, clock, remember_s=2.0)
    assert [await ring.verify(text) for _ in range(5)] == [key] * 5
    assert shelf.asked == 1
    shelf.kept[key.hash] = msgspec.structs.replace(key, revoked_at=NOW)
    clock.now += 1.9
    assert await ring.verify(text) == key
    clock.now += 0.2
    assert await ring.verify(text) is None


async def test_a_key_revoked_here_dies_at_once() -> None:
    text, key = keys.make("prod", now=NOW)
    shelf = Shelf(key)
    ring = keys.Keyring(shelf, Hand())
    await ring.verify(text)
    shelf.kept.clear()
    ring.forget(key.id)
    assert await ring.verify(text) is None


async def test_inventing_keys_does_not_reach_the_store_nor_fill_memory() -> None:
    shelf = Shelf()
    ring = keys.Keyring(shelf, Hand(), most=3)
    for number in range(10):
        assert await ring.verify(f"sk_prod_{number:038d}") is None
    assert shelf.asked == 0
    made = [keys.make("prod", now=NOW) for _ in range(10)]
    shelf.kept.update({key.hash: key for _, key in made})
    for text, _ in made:
        assert await ring.verify(text)
    assert len(ring._known) == 3


async def test_keys_in_a_real_store(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 't.db'}") as store:
        ring = keys.Keyring(store, Hand())
        assert await ring.any() is False
        text, key = keys.make("test", tenant="t1", now=NOW)
        await store.add_key(key)
        assert await ring.verify(text) == key
        assert await ring.any() is True
        await store.revoke_key(key.id, NOW)
        assert await ring.any() is False
    assert text.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240
