"""Calls seen and steered over HTTP, live and over."""

import asyncio
import io
import wave
from pathlib import Path

import pytest

from tests.wire.service import SILENT, Caller, Running, calling, running
from trunkline.ai.echo import EchoProvider

pytestmark = pytest.mark.wire


async def one_call(run: Running, number: int) -> None:
    async with calling(run) as caller:
        await caller.stop(f"end {number}")
        await caller.until_closed()


async def test_calls_are_listed_newest_first_page_by_page(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for number in range(5):
            await one_call(run, number)
        await run.calls(5, live=False)
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            _, page = await run.get(f"/calls?limit=2&cursor={cursor}")
            seen += [call["code"] for call in page["calls"]]
            cursor, pages = page["next"], pages + 1
        assert (seen, pages) == ([f"end {number}" for number in (4, 3, 2, 1, 0)], 3)


async def test_a_live_call_is_seen_and_ended_by_an_operator(tmp_path: Path) -> None:
    async with running(tmp_path) as run, calling(run) as caller:
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}"
        assert (await run.get(path))[1]["ended_at"] is None
        assert await run.post(path + "/hangup") == (202, {"call_id": live["id"], "status": "ending"})
        assert await caller.until_closed() == 1000
        (over,) = await run.calls(1, live=False)
        assert over["cause"] == "operator"
        status, problem = await run.post(path + "/hangup")
        assert (status, problem["detail"]) == (409, "It ended as operator.")


async def test_say_wants_a_text_and_a_live_call(tmp_path: Path) -> None:
    async with running(tmp_path, provider=EchoProvider()) as run, calling(run) as caller:
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}/say"
        for body, field in (({}, "text"), ({"text": ""}, "text"), ({"text": 5}, "text"), ({"text": "x", "y": 1}, "y")):
            status, problem = await run.post(path, json=body)
            assert (status, problem["field"]) == (422, field), body
        status, problem = await run.post(path, data=b"{")
        assert (status, problem["field"]) == (400, "body")
        assert (await run.post(path, json={"text": "Hello there."}))[0] == 202
        for _ in range(100):
            _, transcript = await run.get(f"/calls/{live['id']}/timeline")
            if "Hello there." in str(transcript):
                break
            await asyncio.sleep(0.02)
        assert "Hello there." in str(transcript)
        await caller.stop()
        await caller.until_closed()
        await run.calls(1, live=False)
        assert (await run.post(path, json={"text": "too late"}))[0] == 409
        assert (await run.post("/calls/call_nobody/say", json={"text": "x"}))[0] == 404


async def test_keys_are_sent_and_a_line_that_cannot_transfer_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, provider=EchoProvider()) as run, calling(run) as caller:
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}"
        for keys in ("", "12X", "1" * 33, "a"):
            status, problem = await run.post(path + "/dtmf", json={"keys": keys})
            assert (status, problem["field"]) == (422, "keys"), keys
        assert await run.post(path + "/dtmf", json={"keys": "12#"}) == (
            202,
            {"call_id": live["id"], "status": "sending"},
        )
        status, problem = await run.post(path + "/transfer", json={"target": "+918069000000"})
        assert (status, problem["field"]) == (409, "target")
        assert "cannot be transferred on this line" in problem["detail"]
        await caller.stop()
        await caller.until_closed()
        await run.calls(1, live=False)
        for last, body in (("dtmf", {"keys": "1"}), ("transfer", {"target": "1001"})):
            assert (await run.post(f"{path}/{last}", json=body))[0] == 409
            assert (await run.post(f"/calls/call_nobody/{last}", json=body))[0] == 404


async def test_timeline_and_transcript_of_live_and_ended_calls(tmp_path: Path) -> None:
    async with running(tmp_path, provider=EchoProvider()) as run:
        async with calling(run) as caller:
            await caller.speak(0.4)
            (live,) = await run.calls(1, live=True)
            status, timeline = await run.get(f"/calls/{live['id']}/timeline")
            assert (status, timeline["call_id"], timeline["outcome"]) == (200, live["id"], "")
            assert timeline["turns"][0]["agent_from_s"] is not None
            await caller.stop()
            await caller.until_closed()
        (over,) = await run.calls(1, live=False)
        _, timeline = await run.get(f"/calls/{over['id']}/timeline")
        assert timeline["outcome"] == over["cause"]
        assert timeline["duration_s"] == pytest.approx(0.4, abs=0.4)
        assert (await run.get(f"/calls/{over['id']}/transcript?format=text"))[0] == 200
        assert (await run.get(f"/calls/{over['id']}/transcript?format=pdf"))[0] == 422


async def test_a_recording_is_served_and_only_where_there_is_one(tmp_path: Path) -> None:
    changes = {"agents": {"receptionist": {"record": True}, "quiet": {}}, "route": [{"to": "+9111*", "agent": "quiet"}]}
    async with running(tmp_path, changes, provider=SILENT) as run:
        async with calling(run) as caller:
            await caller.speak(0.5)
            await caller.stop()
            await caller.until_closed()
        (over,) = await run.calls(1, live=False)
        async with run.client.get(f"{run.url}/calls/{over['id']}/recording") as response:
            assert (response.status, response.content_type) == (200, "audio/wav")
            with wave.open(io.BytesIO(await response.read())) as wav:
                assert (wav.getnchannels(), wav.getframerate()) == (2, 8000)
                assert wav.getnframes() / 8000 == pytest.approx(0.5, abs=0.3)
        part = {"Range": "bytes=0-43"}
        async with run.client.get(f"{run.url}/calls/{over['id']}/recording", headers=part) as response:
            assert (response.status, len(await response.read())) == (206, 44)
        async with run.client.ws_connect(run.socket_url + "/smartflo/audio") as socket:
            caller = Caller(socket)
            await caller.start(to="911111111111")
            await caller.stop()
            await caller.until_closed()
        quiet = next(call for call in await run.calls(2, live=False) if call["agent"] == "quiet")
        assert (await run.get(f"/calls/{quiet['id']}/recording"))[0] == 404


@pytest.mark.parametrize("call_id", ["..%2f..%2fetc", "%00", "x" * 3000, "call_%F0%9F%98%80", "'; drop table calls"])
async def test_strange_ids_are_just_unknown(tmp_path: Path, call_id: str) -> None:
    async with running(tmp_path) as run:
        for path in ("", "/timeline", "/transcript", "/recording"):
            status, problem = await run.get(f"/calls/{call_id}{path}")
            assert status == 404, problem


async def test_a_cursor_that_no_database_can_compare_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        status, problem = await run.get("/calls?cursor=%00")
        assert (status, problem["field"]) == (422, "cursor")
