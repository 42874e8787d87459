"""What aiohttp's own connections leave open: how long a request's head may take, and what is said of nonsense.

aiohttp knows a limit for connections that are idle (an hour, so that proxies may keep theirs) and none for a head that
trickles in; and it writes a traceback for bytes that are no HTTP, which any stranger can send as often as he likes.
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from trunkline.api_base import PROBLEM_TYPE, Problem
from trunkline.log_limited import Rarely

HEAD_S = 15.0  # from a request's first byte, or from the connection, to the end of its head
SHOWN = 120  # characters of what was wrong
log = structlog.get_logger("trunkline.api")


def connections(server: web.Server, head_s: float = HEAD_S) -> Callable[[], asyncio.Protocol]:
    """The factory of one listener's connections, in place of aiohttp's `server` itself."""
    odd = Rarely()
    return lambda: Connection(server, odd, head_s)


def retire(server: web.Server) -> None:
    """Have connections close as soon as nothing is asked on them. Sockets of live calls go on: aiohttp would read no
    byte more from a connection that it was told to close."""
    for connection in server.connections:
        if not connection._upgraded:
            connection.close()


class Connection(RequestHandler):
    """aiohttp's connection, with a limit for heads and a short word about nonsense."""

    __slots__ = ("_head", "_head_s", "_odd")

    def __init__(self, server: web.Server, odd: Rarely, head_s: float) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **server._kwargs)
        self._odd = odd
        self._head_s = head_s
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection: its first request must come."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone, and so is the limit."""
        self._met()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes. Where they complete a request the limit is met, where they begin one it starts."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before or self._upgraded:
            self._met()
        elif self._idle():
            self._expect()

    def _idle(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _expect(self) -> None:
        if self._head is None:
            self._head = asyncio.get_running_loop().call_later(self._head_s, self._too_late)

    def _met(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_late(self) -> None:
        self._head = None
        if self._request_count == 0 or self._idle():
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP is answered and told in one line a second; everything else is aiohttp's."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        reason = " ".join((message or type(exc).__name__).split())[:SHOWN]
        if count := self._odd.due(asyncio.get_running_loop().time()):
            log.warning("http.not_understood", peer=request.remote, reason=reason, count=count)
        problem = Problem(title="This is not HTTP as we understand it", status=status, detail=reason)
        answer = web.Response(body=msgspec.json.encode(problem), status=status, content_type=PROBLEM_TYPE)
        answer.force_close()
        return answer
