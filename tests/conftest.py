"""No test is skipped silently: under CI a skip whose reason is not expected fails the run.

That SIP's wheel is not there is expected where SIP was switched off (TRUNKLINE_SIP=off); else it was to be built.
"""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TRUNKLINE_COMPILED", "off")  # as edited; scripts/compiled.sh asks otherwise
_EXPECTED = Path(__file__).with_name("expected_skips.txt")


class Skips:
    """Collects the reasons of skips; complains at the end."""

    def __init__(self) -> None:
        lines = _EXPECTED.read_text("utf-8").splitlines()
        off = os.environ.get("TRUNKLINE_SIP", "on") in ("off", "0", "false", "no")  # as scripts/sip.sh reads it
        without = ["the pjsua2 wheel is not built"] if off else []
        self._expected = (*(line for line in lines if line and not line.startswith("#")), *without)
        self._odd: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            if not any(part in reason for part in self._expected):
                self._odd.append(f"{report.nodeid}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._odd and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for odd in self._odd:
            terminalreporter.write_line(f"UNEXPECTED SKIP {odd}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("CI") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(), "unexpected-skips")
    os.environ.setdefault("TRUNKLINE_SIP", "off")  # a gateway beside every service that a test starts; tests of it ask


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait in real time first: two workers share them out, and the quick ones fill the end."""
    items.sort(key=lambda item: 0 if {"wire", "peers", "soak", "interop"} & set(item.path.parts) else 1)
