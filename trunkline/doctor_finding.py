"""What the doctor's parts share: one line of the report, and how far a look may reach."""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trunkline.config_load import Configuration

Status: TypeAlias = Literal["ok", "warn", "fail"]


class Reach(enum.IntEnum):
    """How far the doctor goes to find out."""

    LOCAL = 0  # asks nobody: this machine alone
    PUBLIC = 1  # tries our own public address, too
    ONLINE = 2  # shows our keys to their vendors, to hear whether they are good


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: which part, how it is, and, unless fine, what to do next."""

    part: str
    status: Status
    text: str
    then: str = ""


Probe: TypeAlias = Callable[[Configuration], Awaitable[Finding | list[Finding]]]
