"""The SIP gateway in the supervisor's hands: where its socket is, who keeps it running, what people are told."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.wire.service import until
from trunkline import supervisor_gateway
from trunkline.config import Settings, Sip
from trunkline.supervisor_gateway import MISSING, MOST_PATH, GatewayKeeper, RunFolder, why_not

CHILD = """#!{python}
import asyncio, socket, sys, time
from trunkline import bus_wire as wire
from trunkline.metrics_sum import counter, gauge

async def main():
    link = await wire.Link.over(socket.socket(fileno=int(sys.argv[-1])))
    setup = await link.receive()
    await {does}(link, setup)
    await link.close()

async def works(link, setup):
    link.send(wire.Listening(("udp 0.0.0.0:5062", "tcp 0.0.0.0:5062")))
    while (message := await link.receive()) is not None:
        if isinstance(message, wire.Drain):
            return
        figures = [counter("sip_events", "", [({{"kind": "offered"}}, 3)]), gauge("sip_calls", "", [({{}}, 2)])]
        link.send(wire.Reply(message.id, wire.encode(wire.Figures(figures))))

async def fails(link, setup):
    link.send(wire.Failed("port 5060 is taken, and so are the next ones", 2))

async def ignores(link, setup):
    link.send(wire.Listening(("udp 127.0.0.1:5060",)))
    time.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> AsyncIterator[GatewayKeeper]:
    """Of a gateway that is a script of a few lines."""
    script = tmp_path / "child"
    script.write_text(CHILD.format(python=sys.executable, does=does))
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    async with asyncio.TaskGroup() as group:

        def own(work: Coroutine[Any, Any, None]) -> None:
            group.create_task(work)

        made = GatewayKeeper(Settings(), RunFolder(str(tmp_path / "data")), own)
        await made.start()
        try:
            yield made
        finally:
            await made.stop(0)


def of(figures: Any, name: str) -> float:
    return float(sum(sample.value for family in figures for sample in family.samples if sample.name == name))


async def test_it_listens_is_asked_and_goes_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with keeper(tmp_path, monkeypatch, "works") as made:
        assert made.told() == "sip:agent@127.0.0.1:5062 (udp, tcp); 5060 is taken"
        figures = await made.figures()
        assert of(figures, "trunkline_sip_gateway_up") == 1
        assert of(figures, "trunkline_sip_events_total") == 3
    assert of(await made.figures(), "trunkline_sip_gateway_up") == 0


async def test_one_that_dies_is_replaced_and_its_counters_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with keeper(tmp_path, monkeypatch, "works") as made:
        await made.figures()
        made.kill()
        await until(lambda: made._starts == 2 and bool(made.listening))
        figures = await made.figures()
        assert of(figures, "trunkline_sip_gateway_starts_total") == 2
        assert of(figures, "trunkline_sip_events_total") == 6
        assert of(figures, "trunkline_sip_calls") == 2, "calls of the dead one are no calls"


async def test_one_that_cannot_listen_says_why_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with keeper(tmp_path, monkeypatch, "fails") as made:
        await until(lambda: made._starts >= 2)
        await until(lambda: "taken" in made.told())
        assert made.told() == "not yet: port 5060 is taken, and so are the next ones"


async def test_one_that_hangs_is_killed_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_gateway, "POLL_S", 0.05)
    monkeypatch.setattr(supervisor_gateway, "GATHER_S", 0.05)
    monkeypatch.setattr(supervisor_gateway, "GOODBYE_S", 0.5)
    async with keeper(tmp_path, monkeypatch, "ignores") as made:
        await until(lambda: made._starts >= 2)


async def test_a_stop_before_the_start_returns(tmp_path: Path) -> None:
    made = GatewayKeeper(Settings(), RunFolder(str(tmp_path)), lambda work: work.close())
    async with asyncio.timeout(20):
        await made.stop(0)


def test_the_socket_is_in_the_data_folder_for_us_alone(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "data"))
    assert folder.socket == str(tmp_path / "data" / "run" / "sip.sock")
    assert folder.journal == str(tmp_path / "data" / "run" / "sip-dialogs")
    assert (tmp_path / "data" / "run").stat().st_mode & 0o777 == 0o700


def test_a_path_too_long_for_a_socket_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    folder = RunFolder(str(deep))
    place = Path(folder.socket)
    assert len(os.fsencode(place)) <= MOST_PATH
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert folder.journal.startswith(str(deep)), "a journal must be found again by a successor"
    folder.close()
    assert not place.parent.exists()


def test_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(Settings(sip=Sip(enabled=False))).startswith("off, as asked for")
    assert "listen is empty" in why_not(Settings(sip=Sip(listen=())))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert why_not(Settings()) == MISSING
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert why_not(Settings()) == ""
