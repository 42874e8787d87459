"""What signals ask of `trunkline serve`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Orders:
    """SIGTERM and SIGINT stop politely, a SIGINT while stopping at once; SIGHUP renews."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.on_hangup: Callable[[], None] = lambda: None  # a service that is only starting reads everything anyway
        self._terminal = sys.stdin is not None and sys.stdin.isatty()

    def polite(self) -> None:
        """SIGTERM."""
        self.stop.set()

    def interrupted(self) -> None:
        """SIGINT, Ctrl-C."""
        (self.at_once if self.stop.is_set() else self.stop).set()

    def hung_up(self) -> None:
        """SIGHUP: somebody asks for renewal, or our terminal was closed, which is a polite end."""
        if self._terminal and not _terminal_there():
            self.stop.set()
        else:
            self.on_hangup()

    @contextmanager
    def listening(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Signals come here for as long as the block lasts."""
        heard = {signal.SIGTERM: self.polite, signal.SIGINT: self.interrupted, signal.SIGHUP: self.hung_up}
        for number, act in heard.items():
            loop.add_signal_handler(number, act)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)


def _terminal_there() -> bool:
    try:
        os.tcgetpgrp(sys.stdin.fileno())
    except (OSError, ValueError):
        return False
    return True
