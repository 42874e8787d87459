"""What every way to serve needs on the command line: the loop, the first key, the banner."""

import gc
import sys
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.markup import escape

from trunkline import RUNS, __version__
from trunkline.config import Settings
from trunkline.config_env import secret_values
from trunkline.config_load import SECRET_KEYS, database_url
from trunkline.loops import loop_factory as loop_factory  # for every way to serve


def settle_garbage() -> None:
    """Called once everything is up. Python's full collections stop every call for as long as they last.

    A call leaves some 200 objects in cycles (tasks and their frames). By default they are looked for when they are a
    quarter of all that is there, all of it: seldom, and for a quarter of a second. So what is there now is not looked
    at again, and the rest three times as often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 3)


def all_secrets(settings: Settings, env: Mapping[str, str]) -> list[str]:
    """For the log to hide: every setting that is one, wherever it was set, passwords in URLs, the environment's."""
    found = list(secret_values(env))
    for key in SECRET_KEYS:
        value: object = settings
        for name in key.split("."):
            value = getattr(value, name)
        found.append(str(value))
    found.extend(user.password for user in settings.sip.user)
    found.extend(trunk.password for trunk in settings.sip.trunk)
    passwords = (urlsplit(url).password for url in (settings.database_url, settings.redis_url))
    return [*found, *(text for password in passwords if password for text in {password, unquote(password)})]


async def first_key(settings: Settings) -> None:
    """An admin key, printed once, if there is none that is good."""
    from trunkline.calls.store_sql import open_store
    from trunkline.cli_keys import create

    async with open_store(database_url(settings)) as store:
        found = await store.keys()
    if not any(key.revoked_at is None for key in found):
        await create(settings, "admin", (), "default", "made by serve --create-key", sys.stdout)


def banner(settings: Settings, addresses: list[str], agent: str, open_here: bool, console: Console, sip: str) -> None:
    """What a person wants to know when it runs. sip: where it listens, or why not."""
    name, url = escape(settings.name), addresses[0]
    console.print(f"[bold]{name}[/] {__version__} answers on {', '.join(addresses)}", soft_wrap=True)
    console.print(f"  agent      {escape(agent)}", soft_wrap=True)
    access = "open, to programs on this machine" if open_here else "asks for a key (trunkline keys create)"
    console.print(f"  API        {access}; {url}/docs")
    local = url.replace("http", "ws", 1)
    console.print(f"  carriers   {local}/smartflo/audio here; from outside: trunkline doctor", soft_wrap=True)
    console.print(f"  SIP        {escape(sip)}", soft_wrap=True)
    console.print(f"  data       {settings.server.data_dir}", soft_wrap=True)
    console.print(f"  runs       {escape(RUNS)}", soft_wrap=True)
    if settings.server.workers > 1:
        console.print(f"  workers    {settings.server.workers}")
    console.print(f"  try        trunkline call --to {local}/smartflo/audio", soft_wrap=True)
