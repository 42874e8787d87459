"""The tries for a connection: how long to wait before each, how long it may take, when to give up. Pure."""

from collections import deque

from trunkline.ai.gemini.faults import Fault
from trunkline.ai.session import SessionLost

WAITS_S = (0.0, 0.25, 0.5, 1.0)  # before each try; the last one again and again
MOST_LOSSES, LOSSES_S = 6, 30.0  # more losses than this within this: the session is given up
LEAST_S = 0.2  # a try is given at least


class Tries:
    """One session's. `setup_s` for the first connection, `recover_s` for each that replaces a lost one."""

    def __init__(self, now: float, setup_s: float, recover_s: float) -> None:
        self._setup_s, self._recover_s = setup_s, recover_s
        self.since = now  # there is no connection
        self._until = now + setup_s  # it must be there
        self._count = 0
        self._asked_s = 0.0  # to wait, by the server
        self._losses: deque[float] = deque()
        self.planned = False  # the connection is being left on purpose
        self.fresh = False  # the next connection must not resume

    def wait_s(self, now: float) -> float:
        """Before the next try."""
        wait_s = 0.0 if self.fresh else max(self._asked_s, WAITS_S[min(self._count, len(WAITS_S) - 1)])
        return max(0.0, min(wait_s, self._until - now))

    def begin(self, now: float) -> float:
        """A try begins. Seconds that it may take."""
        self._count += 1
        return max(LEAST_S, min(self._setup_s, self._until - now))

    def lost(self, now: float) -> None:
        """A connection that had been up is gone."""
        self.since, self._until = now, now + self._recover_s
        self._count, self._asked_s = 0, 0.0
        if not self.planned:
            self._losses.append(now)

    def failed(self, fault: Fault, now: float) -> SessionLost | None:
        """A try or a connection ended without our wish. Why another try makes no sense; None: it does."""
        if fault.action == "stop":
            return SessionLost(fault.reason, fault.retryable)
        if fault.action == "fresh":
            self.fresh = True
        while self._losses and now - self._losses[0] > LOSSES_S:
            self._losses.popleft()
        if len(self._losses) >= MOST_LOSSES:
            return SessionLost(f"{MOST_LOSSES} connections were lost within {LOSSES_S:g} s: {fault.reason}")
        if fault.action == "fresh" and not fault.retryable and len(self._losses) > 1:
            return SessionLost(fault.reason)
        self._asked_s = fault.wait_s
        if now + fault.wait_s >= self._until:
            return SessionLost(fault.reason, fault.retryable)
        return None
