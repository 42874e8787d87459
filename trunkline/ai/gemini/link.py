"""One connection to Gemini Live: set up by google-genai, used by frames of our own.

google-genai builds the address, the credentials and the `setup` message and waits for its acknowledgement, on a
connection that `upgrade` made for it; audio goes up and messages come down on its `channel`, past the SDK.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, TypeAlias

from google import genai
from google.genai import errors, types
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from trunkline.ai.gemini.channel import CLOSE_S, MOST_BYTES, Take
from trunkline.ai.gemini.faults import Broken, Fault, of_close, of_network, of_status
from trunkline.ai.gemini.past import Role
from trunkline.ai.gemini.sdk_link import SdkLink, close_of_sdk
from trunkline.ai.gemini.upgrade import Opening, Upgraded, opening
from trunkline.ai.tools import ToolResult
from trunkline.errors import ConfigError


class Link(Protocol):
    """What a session needs of a connection. Everything raises Broken when it is gone."""

    @property
    def blocked_s(self) -> float:
        """Seconds since the far end stopped to take what is written; 0 while it does."""
        ...

    def audio(self, pcm: bytes) -> bool:
        """The caller's voice: s16le, 16 kHz. False when it was not taken, because the far end is behind."""
        ...

    async def room(self) -> None:
        """Until audio is taken again, or the connection is gone."""
        ...

    async def say(self, text: str) -> None:
        """Words of the telephone system, to be acted on at once."""
        ...

    async def seed(self, turns: Sequence[tuple[Role, str]], *, first: bool) -> None:
        """What was said before; nothing is generated. `first`: as the connection's first message."""
        ...

    async def answer(self, result: ToolResult) -> None:
        """The answer to a request of this connection."""
        ...

    async def follow(self, take: Take) -> None:
        """Hand every message to `take` where it arrives, until `take` has what it wants."""
        ...

    async def close(self) -> None:
        """Say goodbye, within half a second."""
        ...

    def abort(self) -> None:
        """Cut it; `follow` raises Broken."""
        ...


Dial: TypeAlias = Callable[[str, bool, float], AbstractAsyncContextManager[Link]]
"""(resumption handle or "", the past follows, seconds allowed) → a connection; raises Broken."""


def make_client(key: str, *, base_url: str, api_version: str, ca_file: str, open_s: float) -> genai.Client:
    """The process's one client. Costs tens of milliseconds: not inside a call. Raises ConfigError for a bad file."""
    try:
        trust = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise ConfigError(f"ai.gemini.ca_file = {ca_file!r}: cannot be read ({error})") from error
    socket: dict[str, Any] = {
        "ssl": trust,
        "verify": trust,
        "compression": None,  # audio does not compress; it costs 10 to 25 %
        "ping_interval": None,  # pongs of 8 to 30 s were seen in healthy calls: traffic is the sign of life
        "open_timeout": open_s,
        "close_timeout": CLOSE_S,
        "max_size": MOST_BYTES,
        "proxy": None,
        "create_connection": Upgraded,
    }
    options = types.HttpOptions(
        base_url=base_url or None,
        api_version=api_version,
        client_args={"verify": trust},
        async_client_args=socket,
        retry_options=types.HttpRetryOptions(attempts=1),  # retries are ours
    )
    return genai.Client(vertexai=False, api_key=key, http_options=options)


@asynccontextmanager
async def connected(
    client: genai.Client,
    model: str,
    config: types.LiveConnectConfig,
    limit_s: float,
    rewrite: Callable[[bytes], bytes] | None = None,
) -> AsyncIterator[Link]:
    """A connection whose set-up was acknowledged within `limit_s`. `rewrite`: of the set-up message, before it is sent.
    Raises Broken."""
    here = Opening(rewrite)
    opening.set(here)
    handle = bool(config.session_resumption and config.session_resumption.handle)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(limit_s):
                session = await stack.enter_async_context(client.aio.live.connect(model=model, config=config))
        except TimeoutError as error:
            raise Broken(Fault(f"no session within {limit_s:.1f} s", "timeout", "resume")) from error
        except (errors.APIError, WebSocketException, OSError) as error:
            raise Broken(refused(error, handle=handle)) from error
        except (ValueError, TypeError, EOFError) as error:
            raise Broken(Fault(f"no sense in the answer to the set-up: {error}"[:300], "protocol", "resume")) from error
        assert here.connection is not None, "the SDK made its connection itself"
        yield SdkLink(session, here.connection.channel)


def refused(error: Exception, *, handle: bool) -> Fault:
    """Why there was no session."""
    match error:
        case InvalidStatus():
            return of_status(error.response.status_code, error.response.headers.get("Retry-After", ""))
        case errors.APIError():
            details = error.details if isinstance(error.details, str) else error.message or ""
            return of_close(error.code, details, set_up=False, handle=handle)
        case ConnectionClosed():
            return of_close(*close_of_sdk(error), set_up=False, handle=handle)
        case _:
            return of_network(error)
