"""An asyncio event loop in virtual time: `time()` jumps to the next timer when nothing is ready. Tests only.

A call of 20 s takes milliseconds, every run is the same, and a wait for something that never comes is an error at once.

    def test_x() -> None:
        run(my_coroutine())                      # also fails if a task is left behind

    @virtual
    async def test_y(fixture) -> None: ...       # the same, as a decorator; fixtures work

Sockets on loopback and threads started by `asyncio.to_thread` still work: while a thread runs, time stands still.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from trunkline.clock import LoopClock

T = TypeVar("T")
P = ParamSpec("P")
EPOCH = datetime(2026, 1, 1, 12, tzinfo=UTC)
STUCK_S = 10.0  # real seconds without a timer, a socket or a thread that could wake the loop


def clock() -> LoopClock:
    """The `Clock` of the running virtual loop: starts at 0 s, 2026-01-01T12:00Z."""
    return LoopClock(EPOCH)


class _Jump(selectors.DefaultSelector):
    """Moves the time instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads:
            return super().select(0 if timeout == 0 else STUCK_S)
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(STUCK_S)
            if not ready:
                raise RuntimeError("virtual time: nothing is scheduled, the test waits for ever")
        elif not ready and timeout:
            self.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop; `time()` starts at 0."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self._jump.threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Joining threads is real work: no virtual deadline may overtake it (Python 3.12 and later set one)."""
        await super().shutdown_default_executor()

    def _thread_done(self, _: Any) -> None:
        self._jump.threads -= 1


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time; AssertionError when `main` leaves a task behind."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(main)
        left = [t for t in asyncio.all_tasks(runner.get_loop()) if not t.done()]
        assert not left, f"tasks left behind: {[t.get_name() for t in left]}"
        return result


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorator of an async test: it runs in virtual time and fails when it leaves a task behind."""

    @functools.wraps(test)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return wrapper
