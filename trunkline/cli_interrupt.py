"""Ctrl-C while the program is still being loaded: a word and exit code 130, whatever was being imported."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # 128 + SIGINT, as shells count


@contextmanager
def at_once() -> Iterator[None]:
    """Within, Ctrl-C ends the process there and then: a half-imported module has nothing to clean up.

    Does nothing outside the main thread, or where whoever runs us has chosen another way with SIGINT.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
