"""A worker whose interpreter is blocked for a while again and again: on PYTHONPATH, for `bench.sip_load` alone.

SIP_BLOCKED="20,100": for 20 ms, begun every 100 ms. The lock is held by a C call that sleeps, as by a C extension that
does not give it back, so that the blocking itself costs no processor.
"""

import ctypes
import os
import sys
import threading
import time


def block(held_ms: float, every_ms: float) -> None:
    """For ever."""
    hold = ctypes.PyDLL(None).usleep  # PyDLL: the interpreter's lock is kept
    while True:
        time.sleep((every_ms - held_ms) / 1000)
        hold(round(held_ms * 1000))


if "worker" in sys.orig_argv and (asked := os.environ.get("SIP_BLOCKED")):
    held, every = (float(word) for word in asked.split(","))
    threading.Thread(target=block, args=(held, every), daemon=True, name="sip.blocked").start()
