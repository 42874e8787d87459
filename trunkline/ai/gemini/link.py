"""One connection to Gemini Live: set up by google-genai, used by frames on the websocket itself.

google-genai builds the address, the credentials and the `setup` message and waits for its acknowledgement; the
connection object that it makes is caught by the public `create_connection` argument of `websockets.connect`, and
audio goes up and down on it without the SDK's per-message work (about 75 µs and 100 µs against 12 and 12).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from trunkline.ai.gemini.faults import Broken, Fault, of_close, of_network, of_status
from trunkline.ai.gemini.past import Role
from trunkline.ai.gemini.wire import audio_message
from trunkline.ai.tools import ToolResult
from trunkline.errors import ConfigError

CLOSE_S = 0.5  # for the closing handshake
MOST_BYTES = 16 << 20  # of one message
_made: ContextVar[list[ClientConnection] | None] = ContextVar("gemini_connections", default=None)


class Link(Protocol):
    """What a session needs of a connection. Everything raises Broken when it is gone."""

    async def audio(self, pcm: bytes) -> None:
        """The caller's voice: s16le, 16 kHz."""
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

    async def recv(self) -> bytes:
        """The next message."""
        ...

    async def close(self) -> None:
        """Say goodbye, within half a second."""
        ...

    def abort(self) -> None:
        """Cut it; `recv` raises Broken."""
        ...


def remembering(*args: Any, **kwargs: Any) -> ClientConnection:
    """For `create_connection`: an ordinary connection, which the caller of `connected` gets to see."""
    connection = ClientConnection(*args, **kwargs)
    made = _made.get()
    if made is not None:
        made.append(connection)
    return connection


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
        "create_connection": remembering,
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
    client: genai.Client, model: str, config: types.LiveConnectConfig, limit_s: float
) -> AsyncIterator[Link]:
    """A connection whose set-up was acknowledged within `limit_s`. Raises Broken."""
    made: list[ClientConnection] = []
    _made.set(made)
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
        yield SdkLink(session, made[-1])


def refused(error: Exception, *, handle: bool) -> Fault:
    """Why there was no session."""
    match error:
        case InvalidStatus():
            return of_status(error.response.status_code, error.response.headers.get("Retry-After", ""))
        case errors.APIError():
            details = error.details if isinstance(error.details, str) else error.message or ""
            return of_close(error.code, details, set_up=False, handle=handle)
        case ConnectionClosed():
            return of_close(*_close_of(error), set_up=False, handle=handle)
        case _:
            return of_network(error)


def _close_of(error: ConnectionClosed) -> tuple[int, str]:
    frame = error.rcvd or error.sent
    return (frame.code, frame.reason) if frame is not None else (1006, "")


class SdkLink:
    """A `Link` over a session of the SDK and its websocket. One reader."""

    def __init__(self, session: AsyncSession, socket: ClientConnection) -> None:
        self._session = session
        self._socket = socket

    async def audio(self, pcm: bytes) -> None:
        """See Link."""
        try:
            await self._socket.send(audio_message(pcm), text=True)
        except ConnectionClosed as error:
            raise self._broken(error) from error

    async def say(self, text: str) -> None:
        """See Link."""
        try:
            await self._session.send_realtime_input(text=text)
        except ConnectionClosed as error:
            raise self._broken(error) from error

    async def seed(self, turns: Sequence[tuple[Role, str]], *, first: bool) -> None:
        """See Link."""
        contents: list[types.ContentOrDict] = [
            types.Content(role=role, parts=[types.Part(text=text)]) for role, text in turns
        ]
        try:
            await self._session.send_client_content(turns=contents, turn_complete=first)
        except ConnectionClosed as error:
            raise self._broken(error) from error

    async def answer(self, result: ToolResult) -> None:
        """See Link."""
        response: Mapping[str, Any] = {"error": result.error} if result.error else {"output": result.value}
        answer = types.FunctionResponse(id=result.id, name=result.name, response=dict(response))
        try:
            await self._session.send_tool_response(function_responses=[answer])
        except ConnectionClosed as error:
            raise self._broken(error) from error

    async def recv(self) -> bytes:
        """See Link."""
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            raise self._broken(error) from error

    async def close(self) -> None:
        """See Link."""
        await self._socket.close()

    def abort(self) -> None:
        """See Link."""
        self._socket.transport.abort()

    def _broken(self, error: ConnectionClosed) -> Broken:
        return Broken(of_close(*_close_of(error), set_up=True, handle=False))
