"""What a conversation does on legs that are telephone lines: hand the caller on, send keys, know that it is on hold.

Where a call may be transferred to is the operator's word (`[sip] allow_transfer_to`), never the model's: transfers cost
money. A transfer waits until what is being said was heard.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from trunkline.bridge.leg import CallLeg, Held, Moved, Resumed, Ringing
from trunkline.bridge.targets import may_transfer, usual_target
from trunkline.bridge.telephony import TelephonyLeg, Transferred
from trunkline.calls.control import Say, SendDigits, Transfer
from trunkline.calls.events import LineQuality
from trunkline.calls.goodbye import country_of
from trunkline.calls.handover import Handover, TransferOver
from trunkline.calls.happenings import Setting
from trunkline.calls.journal import Journal
from trunkline.calls.own_words import OwnWords
from trunkline.calls.scribe import Scribe
from trunkline.clock import Clock
from trunkline.errors import ToolError
from trunkline.outcome import EndCause, Outcome

SETTLE_S: Final = 0.5  # a sentence may still begin within this
LONGEST_WORDS_S: Final = 8.0  # what is being said then is cut
INF: Final = float("inf")
SORRY: Final = "I am sorry, I could not reach them. I am still here: is there anything else that I can do for you?"
UNANSWERED: Final = "Nobody has answered yet."
GONE: Final = "The caller talks to somebody else already."
CANNOT: Final = "Calls cannot be transferred on this line. Offer to take a message or a call back instead."


class Telephone:
    """One call's, for its mind."""

    def __init__(
        self,
        leg: CallLeg,
        setting: Setting,
        own: OwnWords,
        scribe: Scribe,
        post: Callable[[Say | Transfer | TransferOver], None],
        clock: Clock,
    ) -> None:
        """post: hands something to the mind."""
        self._leg = leg if isinstance(leg, TelephonyLeg) else None
        self._country = country_of(leg.info.to)
        self._allowed = setting.transfer_to
        self._briefing = setting.briefing
        self._clock = clock
        self._handover: Handover | None = None
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self.up = False  # somebody has answered
        self.joined = False  # the caller talks to somebody else on lines of ours, and the call goes on
        self._own = own
        self._scribe = scribe
        self._post = post
        self._asked: list[Transfer] = []  # nobody may wait for one that is forgotten
        self._wanted: Transfer | None = None
        self._since = 0.0
        self._look_at = INF
        self._going = False
        self._held = False

    @property
    def busy(self) -> bool:
        """On hold or being transferred: nobody is asked whether they are there."""
        return self._held or self.handing_on

    @property
    def handing_on(self) -> bool:
        """A transfer is about to be done: the call is not given up meanwhile."""
        return self._wanted is not None

    def usual(self) -> str:
        """Where a transfer goes that names nobody; "": there is no such place, or no way there now."""
        target = usual_target(self._allowed)
        return target if target and not self.refusal(target) else ""

    def refusal(self, target: str) -> str:
        """Why the caller cannot be handed to `target`; "" when it can be tried."""
        if self._leg is None:
            return CANNOT
        if why := self._nobody():
            return why
        if not may_transfer(target, self._allowed):
            return f"target: calls may not be transferred to {target!r}. Offer to take a message instead."
        return "A transfer is going on already." if self._wanted is not None else ""

    def no_keys(self) -> str:
        """Why keys would not be heard; "" when they can be sent."""
        if why := self._nobody():
            return why
        return "The far end has put the call on hold: no key would be heard." if self._held else ""

    def _nobody(self) -> str:
        """Why nobody is there to be handed on or to hear keys, "" when there is somebody."""
        if not self.up:
            return UNANSWERED
        return GONE if self.joined else ""

    def transfer(self, target: str, brief: str | None = None, *, sorry: bool = False) -> Transfer:
        """Ask the mind for it. sorry: tell the caller if it does not work. Raises ToolError with the refusal."""
        if refusal := self.refusal(target):
            raise ToolError(refusal)
        transfer = Transfer(target, brief, sorry)
        self._asked.append(transfer)
        self._post(transfer)
        return transfer

    def take(
        self, item: Ringing | Held | Resumed | Moved | SendDigits | Transfer | TransferOver, now: float, turn: int
    ) -> Outcome | None:
        """What happened, or is asked for. The call's outcome when the caller is in other hands now."""
        self._turn = turn
        match item:
            case SendDigits(keys=keys):
                self._keys(keys, turn)
            case Transfer():
                self._want(item, now)
            case TransferOver(result=result, sorry=sorry):
                return self._over(result, sorry=sorry)
            case Moved(target=target):
                self._scribe.note("moved", target)
            case _:
                self._held = isinstance(item, Held)
                self._scribe.note(type(item).__name__.lower())
        return None

    def deadline(self) -> float:
        """When to ask `due` next, at the latest (clock, s)."""
        return self._look_at

    def due(self, now: float, group: asyncio.TaskGroup, *, audible: bool) -> None:
        """Start what is to be started."""
        if self._wanted is None or self._going or now < self._look_at:
            return
        if audible and now < self._since + LONGEST_WORDS_S:
            self._look_at = now + 0.1
            return
        self._going, self._look_at = True, INF
        self._task = group.create_task(self._transfer(self._wanted), name="transfer")

    def stop(self) -> None:
        """The call is over: what has not begun never will."""
        self._look_at = INF
        if self._task is not None and self._handover is not None and self._handover.by_ourselves:
            self._task.cancel()
        for transfer in self._asked:
            if transfer is not self._wanted or not self._going:
                transfer.end(Transferred(False, reason="the call is over"))

    def tell_quality(self, journal: Journal) -> None:
        """At the end, where the line knows."""
        if self._leg is not None and (told := self._leg.quality()) is not None:
            figures = (told.codec, told.loss, told.jitter_ms, told.rtt_ms, told.mos, told.srtp)
            journal.emit(LineQuality(journal.now(), *figures))

    def _keys(self, keys: str, turn: int) -> None:
        """For the far end: as what they are where the line can, else as tones."""
        if self._held:
            self._scribe.note("digits_refused", str(len(keys)))
            return
        self._scribe.note("digits_sent", str(len(keys)))
        if self._leg is None or not self._leg.send_digits(keys):
            self._own.keys(keys, turn=turn)

    def _want(self, transfer: Transfer, now: float) -> None:
        if refusal := self.refusal(transfer.target):
            transfer.end(Transferred(False, reason=refusal))
            return
        self._scribe.note("transfer" if transfer.brief is None else "warm_transfer", transfer.target)
        self._wanted, self._since, self._look_at = transfer, now, now + SETTLE_S

    def _over(self, result: Transferred, *, sorry: bool) -> Outcome | None:
        self._wanted, self._going = None, False
        if result.done:
            self._scribe.note("transferred", result.how)
            self.joined = result.joined
            return Outcome(EndCause.COMPLETED, "nobody", "transferred")
        self._scribe.note("transfer_failed", f"{result.code or ''} {result.reason}".strip())
        if sorry:
            self._post(Say(SORRY))
        return None

    async def _transfer(self, transfer: Transfer) -> None:
        assert self._leg is not None
        self._handover = Handover(self._leg, self._ring, self._briefing, self._clock)
        result = Transferred(False, reason="the call is over")
        try:
            result = await self._handover.run(transfer)
        finally:
            transfer.end(result)
        self._post(TransferOver(result, transfer.sorry))

    def _ring(self) -> None:
        self._own.ring(self._country, turn=self._turn)
