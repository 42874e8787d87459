"""What a call with a fault was like for its caller, and what of their words reached the model. Pure.

Silence is measured in the audio that reached the caller's ear (the simulated carrier's playout, level above -45 dBov):
a *hole* is a stretch without sound while the agent owes speech, which it does from the answer to the end of the
greeting, and from the caller's last speech sample to the end of the reply. A reply that the model never finished is
owed to the end; the caller's own patience behind a finished one is not counted. *Beyond the model* is a hole less what
the simulated model is configured to take for a normal turn at that place of the call (`fault_rows.normal_s`), once per
turn: what the first hole has used of it is gone for the next. Never a fault's own delay, nothing measured, and the same
whoever ends the hole. The *answer* is the model's own speech: how long the caller went without it while it was owed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from bench.fault_call import Observed
from bench.fault_rows import GREETING, normal_s
from trunkline_sim.ears import Run, speech_runs
from trunkline_sim.gemini_parts import find_parts, speech_blocks
from trunkline_sim.gemini_voice import REPLIES, Heard, listen
from trunkline_sim.mulaw import RATE, decode
from trunkline_sim.voices import EDGE_S

SILENCE_S, HONEST_S = 1.2, 3.0  # what is allowed
LEAST_S = 0.3  # a shorter pause is none
_BLOCK_MS = 20
_WHO_S = 0.4  # of sound, by which it is told who speaks
_SPEAKS = ("audio", "toolCall")

Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Hole:
    """Silence that was owed. Seconds of the call; `own_s`: the model's; `ended_by`: "model", "us" or "" (nobody)."""

    from_s: float
    to_s: float
    own_s: float = 0.0
    ended_by: str = ""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.to_s - self.from_s

    @property
    def beyond_s(self) -> float:
        """Without the model's own."""
        return max(0.0, self.seconds - self.own_s)


@dataclass(frozen=True, slots=True)
class Words:
    """What of the caller's speech reached the model, in ms: `lost` to all connections; `again` to one after another
    (a connection that is begun anew hears the sentence from its beginning); `doubled` to one and the same."""

    lost_ms: int = 0
    again_ms: int = 0
    doubled_ms: int = 0
    said: int = 0  # sentences
    understood: int = 0  # of them
    repeated: int = 0  # understood once more


@dataclass(frozen=True, slots=True)
class Verdict:
    """A row of the table; `wrong` says in words what should have been otherwise."""

    call: Observed
    worst: Hole  # beyond the model
    longest_s: float  # silence, as it was heard
    answer_s: float  # the longest wait for the model's own speech
    words: Words
    greetings: int
    honest_s: float | None  # silence before our own words
    resumed: int
    wrong: Sequence[str] = field(default=())

    @property
    def outcome(self) -> str:
        """As recorded."""
        record = self.call.record
        return f"{record.cause} / {record.fault}"


def judge(call: Observed) -> Verdict:
    """Everything the table tells of one call."""
    blocks = listen(decode(call.heard).astype("<i2").tobytes(), RATE)
    found = holes(call, blocks)
    honest = next((hole.seconds for hole in found if hole.ended_by == "us"), None)
    verdict = Verdict(
        call=call,
        worst=max(found, key=lambda hole: hole.beyond_s, default=Hole(0.0, 0.0)),
        longest_s=max((hole.seconds for hole in found), default=0.0),
        answer_s=answer_s(call, blocks),
        words=words(call),
        greetings=greetings(call, blocks),
        honest_s=honest,
        resumed=sum(bool((log.setup or {}).get("sessionResumption", {}).get("handle")) for log in call.logs),
    )
    wrong = _wrong_healed(verdict) if call.row.kind == "healed" else _wrong_gone(verdict)
    return replace(verdict, wrong=tuple(wrong))


def _wrong_healed(told: Verdict) -> Iterable[str]:
    words, record, call = told.words, told.call.record, told.call
    if told.worst.beyond_s > SILENCE_S:
        yield f"silent for {told.worst.beyond_s:.1f} s beyond the model, from {told.worst.from_s:.1f} s on"
    if call.row.quiet and told.honest_s is not None:
        yield "a word of ours before an answer that was on its way"
    if words.lost_ms or words.doubled_ms:
        yield f"{words.lost_ms} ms of the caller lost, {words.doubled_ms} ms doubled"
    if words.understood < words.said:
        yield f"{words.said - words.understood} of {words.said} sentences not understood"
    if told.greetings != 1:
        yield f"{told.greetings} greetings"
    if len(call.orders) != 1:
        yield f"{len(call.orders)} orders"
    if (record.cause, record.fault) != ("completed", "caller"):
        yield f"recorded as {told.outcome}"
    yield from (f"line {missed.line}: {missed.reason}" for missed in call.missed)


def _wrong_gone(told: Verdict) -> Iterable[str]:
    if told.honest_s is None:
        yield "not a word of ours"
    elif told.honest_s > HONEST_S:
        yield f"{told.honest_s:.1f} s until a word of ours"
    if told.greetings > 1:
        yield f"{told.greetings} greetings"
    if told.call.ending.by != "service":
        yield "the service did not end it"
    if (told.call.record.cause, told.call.record.fault) != ("provider_failed", "provider"):
        yield f"recorded as {told.outcome}"


# ── silence ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def holes(call: Observed, blocks: Sequence[Heard]) -> list[Hole]:
    """All silence that was owed, in order."""
    runs = speech_runs(call.heard, merge_s=LEAST_S)
    return [hole for turn, span in enumerate(_owed(call)) for hole in _holes_in(turn, span, call, runs, blocks)]


def _owed(call: Observed) -> list[Span]:
    """When it is the agent's turn: up to the caller's first sentence (0), behind the first (1) … behind the last. One
    that is empty, because the caller goes on at once, keeps its number."""
    ends = [0.0, *(did.to_s - EDGE_S for did in call.did)]
    begins = [*(did.from_s for did in call.did), min(call.ending.at_s, len(call.heard) / RATE)]
    return [(end, max(end, begin)) for end, begin in zip(ends, begins, strict=True)]


def _holes_in(turn: int, span: Span, call: Observed, runs: Sequence[Run], blocks: Sequence[Heard]) -> Iterable[Hole]:
    left_s = normal_s(call.row, turn)
    for silent_s, sound_s, by in _silences(span, call, runs, blocks):
        own_s = min(left_s, sound_s - silent_s)
        left_s -= own_s
        yield Hole(silent_s, sound_s, own_s, by)


def _silences(
    span: Span, call: Observed, runs: Sequence[Run], blocks: Sequence[Heard]
) -> Iterable[tuple[float, float, str]]:
    """From, to, and who ended it."""
    begin, end = span
    inside = [run for run in runs if run.to_s > begin and run.from_s < end]
    silent_s = [begin, *(max(begin, run.to_s) for run in inside)]
    for since, run in zip(silent_s, inside, strict=False):
        if run.from_s - since >= LEAST_S:
            yield since, run.from_s, _speaker((run.from_s, run.from_s + _WHO_S), blocks)
    last_s = silent_s[-1]
    finished = bool(inside) and _speaker((last_s - _WHO_S, last_s), blocks) == "model" and _finished(call, end)
    if end - last_s >= LEAST_S and not finished:
        yield last_s, end, ""


def answer_s(call: Observed, blocks: Sequence[Heard]) -> float:
    """The longest that the caller went without the model's own speech while it was owed, up to where it came."""
    spoken = [block for block in blocks if _speaker((block.from_s, block.from_s + _WHO_S), blocks) == "model"]
    longest_s = 0.0
    for begin, end in _owed(call):
        inside = [block for block in spoken if block.to_s > begin and block.from_s < end]
        ends = [begin, *(block.to_s for block in inside)]
        longest_s = max([longest_s, *(block.from_s - since for since, block in zip(ends, inside, strict=False))])
    return longest_s


def _speaker(span: Span, blocks: Sequence[Heard]) -> str:
    """The model speaks in tones that name themselves; what else is heard are words of ours."""
    told = sum(max(0.0, min(span[1], block.to_s) - max(span[0], block.from_s)) for block in blocks)
    return "model" if told > 0.3 * (span[1] - span[0]) else "us"


def _finished(call: Observed, at_s: float) -> bool:
    """Whether the model had sent all of what it had to say."""
    sent = [
        (event.at_s, event.kind)
        for log in call.logs
        for event in log.events
        if event.way == "out" and event.kind in (*_SPEAKS, "generationComplete") and event.at_s - call.zero < at_s
    ]
    return bool(sent) and max(sent)[1] == "generationComplete"


# ── words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def words(call: Observed) -> Words:
    """Aligns what each connection received with each sentence that the caller said."""
    lost = again = doubled = 0
    said = [did.label for did in call.did]
    understood = [text for log in call.logs for text in log.heard]
    for text in said:
        clip = call.clips[text]
        whole, reached = speech_blocks(clip), set[int]()
        for log in call.logs:
            parts = [part.blocks & whole for part in find_parts(bytes(log.audio), clip)]
            here = frozenset[int]().union(*parts)
            doubled += sum(map(len, parts)) - len(here)
            again += len(here & reached)
            reached |= here
        lost += len(whole - reached)
    return Words(
        lost_ms=_BLOCK_MS * lost,
        again_ms=_BLOCK_MS * again,
        doubled_ms=_BLOCK_MS * doubled,
        said=len(said),
        understood=sum(text in understood for text in said),
        repeated=sum(max(0, understood.count(text) - 1) for text in said),
    )


def greetings(call: Observed, blocks: Sequence[Heard]) -> int:
    """Greetings of which at least 300 ms reached the ear."""
    count = 0
    for log in call.logs:
        first, last = log.opened_s - call.zero, (log.events[-1].at_s if log.events else log.opened_s) - call.zero + 5.0
        for number, text in log.replies.items():
            mine = [b for b in blocks if b.reply == number % REPLIES and first <= b.from_s <= last]
            count += text == GREETING and len(mine) >= 3
    return count
