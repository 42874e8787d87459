"""`trunkline keys`: create, list, revoke."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline import keys
from trunkline.calls.store import ApiKey
from trunkline.calls.store_sql import open_store
from trunkline.config import Settings
from trunkline.config_load import database_url
from trunkline.errors import ConfigError


async def create(settings: Settings, kind: str, scopes: Iterable[str], tenant: str, label: str, out: TextIO) -> ApiKey:
    """Make a key, keep its hash, print its text this once. Raises ConfigError for an unknown kind or scope."""
    text, key = keys.make(kind, tenant=tenant, scopes=scopes, label=label, now=datetime.now(UTC))
    async with open_store(database_url(settings)) as store:
        await store.add_key(key)
    out.write(f"{text}\n")
    out.write(f"Key {key.id} of tenant {tenant}, {kind}: {may(key)}. It is shown only now; keep it.\n")
    out.flush()
    return key


async def show(settings: Settings, console: Console) -> None:
    """All keys, newest first."""
    async with open_store(database_url(settings)) as store:
        found = await store.keys()
    if not found:
        console.print("There are no keys. Make one: trunkline keys create --kind admin")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "kind", "tenant", "may", "label", "made", "revoked"):
        table.add_column(column, overflow="fold")
    for key in found:
        revoked = f"{key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        row = (key.id, key.kind, key.tenant, may(key), key.label, f"{key.created_at:%Y-%m-%d %H:%M}", revoked)
        table.add_row(*map(Text, row))
    console.print(table)


async def revoke(settings: Settings, key_id: str, out: TextIO) -> None:
    """Make a key useless; running services notice within two seconds. Raises ConfigError for an unknown id."""
    async with open_store(database_url(settings)) as store:
        if not await store.revoke_key(key_id, datetime.now(UTC)):
            raise ConfigError(f"there is no key {key_id!r} in force; trunkline keys list shows them")
    out.write(f"Key {key_id} is revoked; running services refuse it within 2 s.\n")


def may(key: ApiKey) -> str:
    """What the key may do, in short."""
    return " ".join(key.scopes) or "everything"
