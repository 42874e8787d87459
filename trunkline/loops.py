"""The event loop that carries calls: uvloop, and for TLS towards others aiofastnet, each where it is installed.

A call to Gemini moves a hundred TLS records a second. uvloop hands each of them to Python's `ssl.SSLObject` and back;
aiofastnet calls the same OpenSSL, with the same context (trust, hostname check), from C (docs/providers/gemini.md).
Only connections that are TLS from their first byte go there; all else, carriers' sockets included, is uvloop's.
"""

import asyncio
from collections.abc import Callable
from typing import Any

RECORDS = 2 * (16 * 1024 + 64)  # bytes kept each way per TLS connection: its default of sixteen records is half a MiB


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes the loop."""
    try:
        import uvloop
    except ImportError:  # none for this platform
        return asyncio.new_event_loop
    try:
        import aiofastnet
    except ImportError:
        return uvloop.new_event_loop

    class Loop(uvloop.Loop):
        """uvloop's, but for `create_connection(ssl=…)` and what may follow on such a connection."""

        async def create_connection(self, *args: Any, ssl: Any = None, **more: Any) -> Any:
            """See asyncio."""
            if ssl:
                return await aiofastnet.create_connection(
                    self, *args, ssl=ssl, ssl_incoming_bio_size=RECORDS, ssl_outgoing_bio_size=RECORDS, **more
                )
            return await super().create_connection(*args, ssl=ssl, **more)

        async def start_tls(self, transport: Any, *args: Any, **more: Any) -> Any:
            """See asyncio; TLS within TLS, through a proxy."""
            if isinstance(transport, aiofastnet.Transport):
                return await aiofastnet.start_tls(self, transport, *args, **more)
            return await super().start_tls(transport, *args, **more)

    return Loop
