"""The last thing a line hears: a progress tone where no voice can say why, then the hang-up. Bounded in time."""

import asyncio

import structlog

from trunkline.bridge.leg import CallLeg
from trunkline.codecs.tones import Country, ToneName, progress_tone
from trunkline.outcome import EndCause, Outcome

TONE_S = 2.0
HANG_UP_S = 5.0  # a leg that takes longer to end is left to its owner
_TONES: dict[EndCause, ToneName] = {EndCause.ADMISSION: "busy", EndCause.PROVIDER_FAILED: "congestion"}
_CHUNK_MS = 40

_log = structlog.get_logger(__name__)


async def say_goodbye(leg: CallLeg, outcome: Outcome, *, told: bool = False) -> None:
    """Tone if the outcome has one, then `leg.end`. Harmless on a leg that has ended; never raises for time.

    told: the caller was told in words, and needs no tone."""
    tone = None if told else _TONES.get(outcome.cause)
    try:
        async with asyncio.timeout(TONE_S + HANG_UP_S):
            if tone is not None:
                await _play(leg, tone)
            await leg.end(outcome.cause)
    except TimeoutError:
        _log.warning("leg.not_ended", within_s=TONE_S + HANG_UP_S)


async def _play(leg: CallLeg, tone: ToneName) -> None:
    codec = leg.info.codec
    payload = codec.encoder().encode(progress_tone(tone, country_of(leg.info.to), TONE_S, codec.rate))
    frame = codec.bytes_per_second * leg.info.frame_ms // 1000
    step = frame * max(1, _CHUNK_MS // leg.info.frame_ms)
    for at in range(0, len(payload) - frame + 1, step):
        await leg.room()
        piece = payload[at : at + step]
        leg.send(piece[: len(piece) - len(piece) % frame])
    if leg.playing():
        await asyncio.sleep(leg.info.lead_s)


def country_of(number: str) -> Country:
    """Whose tones a line there is used to."""
    if number.startswith("+1"):
        return "us"
    return "in" if number.startswith("+91") else "eu"
