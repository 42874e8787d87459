"""Processes held to a share of a core by the kernel (control groups, version 1 or 2). Linux, root."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PERIOD_US = 10_000
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class NoQuotaError(Exception):
    """The kernel's quota cannot be used here."""


@contextmanager
def held(pids: Sequence[int], share: float) -> Iterator[None]:
    """Each process to `share` of a core of its own, over periods of 10 ms, until the end. Raises NoQuotaError."""
    made: list[Path] = []
    try:
        for pid in pids:
            made.append(_group(f"trunkline-bench-{pid}", share))
            (made[-1] / "cgroup.procs").write_text(str(pid))
        yield
    except OSError as wrong:
        raise NoQuotaError(f"no quota of processor time can be set here: {wrong}") from wrong
    finally:
        for group in made:
            _dissolve(group)


def _group(name: str, share: float) -> Path:
    quota = str(round(share * PERIOD_US))
    if (_V1 / "cpu.cfs_quota_us").exists():
        group = _V1 / name
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(quota)
        return group
    group = _V2 / name
    group.mkdir()
    (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
    return group


def _dissolve(group: Path) -> None:
    """What still lives in it goes back to the top."""
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            (group.parent / "cgroup.procs").write_text(pid)
        except OSError:
            continue  # it has just ended
    group.rmdir()
