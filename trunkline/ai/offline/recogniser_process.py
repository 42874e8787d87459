"""One process of the recogniser pool: frames of audio on standard input, texts on standard output.

PocketSphinx holds the interpreter's lock while it decodes, so it must not live in a process that carries calls. Run as
`python -m trunkline.ai.offline.recogniser_process FOLDER`; ends when its input does, so it never outlives its parent.

A message is a header (`HEADER`) and a body. To the process: OPEN, CLOSE, EXPECT (body: grammar), START, FEED (s16le
at 16 kHz), FINISH, ABANDON. From it: READY once, PARTIAL for each FEED (body: `Heard`), FINAL for each FINISH (body:
`Final`). `slot` names the call, `utterance` counts its utterances; answers carry both, so late ones are known.
"""

import os
import re
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from trunkline.ai.offline.cleaning import Cleaner
from trunkline.ai.offline.confidence import Evidence, confidence
from trunkline.ai.offline.grammar import GRAMMARS
from trunkline.ai.offline.language import LanguageFiles

HEADER: Final = struct.Struct("<IBII")  # bytes of the body, kind, slot, utterance
MAX_BODY: Final = 1 << 20
_PARTIAL_EVERY: Final = 6400  # bytes of audio (0.2 s) between two looks at the hypothesis
_PAD: Final = bytes(2 * 1600)  # 0.1 s of silence after the last word
# Cepstral mean of speech through a telephone line (average of seven voices, as `Cleaner` gives it). From the model's
# own, which is of wideband recordings, the first utterance of a call was right in 41-76 % of cases, not in 80-94 %.
_LINE_MEAN: Final = "39.8,5.7,-4.2,9.5,3.6,-13.2,13.2,-14.1,-0.9,4.0,-7.5,9.2,-5.3"
_SILENCES: Final = frozenset(["<s>", "</s>", "<sil>"])
_VARIANT = re.compile(r"\(\d+\)")


class Kind(IntEnum):
    """What a message is."""

    READY = 0
    OPEN = 1
    CLOSE = 2
    EXPECT = 3
    START = 4
    FEED = 5
    FINISH = 6
    ABANDON = 7
    PARTIAL = 8
    FINAL = 9


class Heard(msgspec.Struct, frozen=True):
    """Answer to FEED: how much was decoded, and the text so far (None: not looked)."""

    consumed: int  # bytes
    text: str | None = None


class Result(msgspec.Struct, frozen=True):
    """Answer to FINISH."""

    text: str
    confidence: float  # 0..1


def message(kind: Kind, slot: int = 0, utterance: int = 0, body: bytes = b"") -> bytes:
    """The bytes of one message."""
    return HEADER.pack(len(body), kind, slot, utterance) + body


class _Ear:
    """One call: a decoder of its own, so that what it learns of the line (cepstral mean) stays with the call."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._grammar = GRAMMARS[0]
        self._open = False
        self._unseen = 0  # bytes decoded since the hypothesis was looked at
        self._cleaner = Cleaner()

    def expect(self, grammar: str) -> None:
        if grammar in GRAMMARS:
            self._grammar = grammar

    def start(self) -> None:
        self.abandon()
        self._decoder.activate_search(self._grammar)
        self._decoder.start_utt()
        self._cleaner.start()
        self._open, self._unseen = True, 0

    def feed(self, pcm: bytes) -> Heard:
        if not self._open:
            return Heard(len(pcm))
        clean = self._cleaner.push(pcm)
        if clean:
            self._decoder.process_raw(clean, False, False)
        self._unseen += len(pcm)
        if self._unseen < _PARTIAL_EVERY:
            return Heard(len(pcm))
        self._unseen = 0
        best = self._decoder.hyp()
        return Heard(len(pcm), _text(best.hypstr) if best else "")

    def finish(self) -> Result:
        if not self._open:
            return Result("", 0.0)
        self.feed(_PAD)
        self._decoder.end_utt()
        self._open = False
        best = self._decoder.hyp()
        text = _text(best.hypstr) if best else ""
        return Result(text, confidence(self._evidence(text, best))) if text else Result("", 0.0)

    def abandon(self) -> None:
        if self._open:
            self._decoder.end_utt()
            self._open = False

    def _evidence(self, text: str, best: Any) -> Evidence:
        speech = sum(s.end_frame - s.start_frame + 1 for s in self._decoder.seg() if s.word not in _SILENCES)
        return Evidence(best.prob, best.score, len(text.split()), speech)


def _text(hypothesis: str) -> str:
    """Without the marks of pronunciation variants."""
    return _VARIANT.sub("", hypothesis)


class _Engine:
    """All calls of this process."""

    def __init__(self, files: LanguageFiles) -> None:
        from pocketsphinx import Config, Decoder, NGramModel

        from trunkline.ai.offline.lexicon import model_dir

        self._decoder = Decoder
        self._config = Config(
            lm=None,
            hmm=str(model_dir() / "en-us"),
            dict=str(files.dictionary),
            lw=9.0,
            fwdflat=False,
            loglevel="FATAL",
        )
        first = Decoder(self._config)
        self._models: Mapping[str, Any] = {
            grammar: NGramModel(self._config, first.logmath, str(files.model(grammar))) for grammar in GRAMMARS
        }
        self._ears: dict[int, _Ear] = {}

    def handle(self, kind: Kind, slot: int, utterance: int, body: bytes) -> bytes:
        """Do what a message asks; the answer's bytes, or none. Messages for a slot that is not open are ignored."""
        if kind is Kind.OPEN:
            self._ears[slot] = self._ear()
            return b""
        ear = self._ears.get(slot)
        if ear is None:
            return b""
        return self._tell(ear, kind, slot, utterance, body)

    def _tell(self, ear: _Ear, kind: Kind, slot: int, utterance: int, body: bytes) -> bytes:
        match kind:
            case Kind.FEED:
                return message(Kind.PARTIAL, slot, utterance, msgspec.json.encode(ear.feed(body)))
            case Kind.FINISH:
                return message(Kind.FINAL, slot, utterance, msgspec.json.encode(ear.finish()))
            case Kind.START:
                ear.start()
            case Kind.ABANDON:
                ear.abandon()
            case Kind.EXPECT:
                ear.expect(body.decode("ascii", "replace"))
            case Kind.CLOSE:
                del self._ears[slot]
            case _:
                raise AssertionError(kind)
        return b""

    def _ear(self) -> _Ear:
        """A fresh decoder: 10–15 ms and 8 MB; the language models are shared."""
        decoder = self._decoder(self._config)
        for grammar, model in self._models.items():
            decoder.add_lm(grammar, model)
        decoder.set_cmn(_LINE_MEAN)
        return _Ear(decoder)


def serve(source: BinaryIO, sink: BinaryIO, files: LanguageFiles) -> None:
    """Answer messages until `source` ends."""
    engine = _Engine(files)
    sink.write(message(Kind.READY))
    sink.flush()
    while len(header := source.read(HEADER.size)) == HEADER.size:
        size, kind, slot, utterance = HEADER.unpack(header)
        if size > MAX_BODY:
            raise ValueError(f"a message of {size} bytes")
        body = source.read(size)
        if len(body) < size:
            return
        answer = engine.handle(Kind(kind), slot, utterance, body)
        if answer:
            sink.write(answer)
            sink.flush()


def main() -> None:
    """Command line of the process. Standard output is kept for messages: a library's prints go to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the parent, which closes our input
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(BrokenPipeError):  # the parent is gone
        serve(sys.stdin.buffer, sink, LanguageFiles(Path(sys.argv[1])))
    os._exit(0)  # nothing to save; the decoders' destructors would only take time


if __name__ == "__main__":
    main()
