"""The journal of dialogs: one JSON line each time one begins or ends, so that a successor can end what is left.

An INVITE is written down before it leaves: what is journalled may have rung, what is not was never sent. Nothing is
synced to the disk: the journal outlives the process, not the machine, with which the far ends' audio ends too.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from trunkline.bridge.sip.dialogs import Dialog, Invite, Over, Record

MOST_LINES: Final = 20_000  # then it is written anew with what is open
log = structlog.get_logger("trunkline.sip.journal")
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def still_open(lines: Iterable[bytes]) -> dict[str, Dialog | Invite]:
    """By Call-ID. A line that was cut by the crash is passed over."""
    found: dict[str, Dialog | Invite] = {}
    for line in lines:
        try:
            record = _decoder.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(record, Over):
            found.pop(record.call_id, None)
        else:
            found[record.call_id] = record
    return found


class Journal:
    """`path` "": none is kept."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._open: dict[str, Dialog | Invite] = {}
        self._file: BinaryIO | None = None
        self._lines = 0
        self.failures = 0

    def begin(self) -> list[Dialog | Invite]:
        """What a predecessor left open; from now on it is ours alone. Raises OSError."""
        if self._path is None:
            return []
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        left: list[Dialog | Invite] = []
        with suppress(FileNotFoundError):
            left = list(still_open(self._path.read_bytes().splitlines()).values())
        self._open = {record.call_id: record for record in left}
        self._anew()
        return left

    def note(self, record: Record) -> None:
        """One more line, in the file when this returns."""
        if isinstance(record, Over):
            if self._open.pop(record.call_id, None) is None:
                return
        else:
            self._open[record.call_id] = record
        if self._file is None:
            return
        try:
            self._file.write(_encode(record) + b"\n")
            self._lines += 1
            if self._lines > MOST_LINES:
                self._anew()
        except OSError as error:  # a full disk costs a far end its BYE after a crash, not the call
            if not self.failures:
                log.error("journal.failed", reason=str(error))
            self.failures += 1

    def _anew(self) -> None:
        assert self._path is not None
        fresh = self._path.with_suffix(".new")
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        file = os.fdopen(number, "wb", buffering=0)
        file.write(b"".join(_encode(record) + b"\n" for record in self._open.values()))
        os.replace(fresh, self._path)
        if self._file is not None:
            self._file.close()
        self._file, self._lines = file, len(self._open)

    def close(self) -> None:
        """What is open stays in the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
