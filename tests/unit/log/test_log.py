"""What the log shows and what it never shows."""

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from trunkline import log

TOKEN = "Zq3x9-media-token-of-this-service"
NUMBERS = ("+919812345678", "919812345678", "9812345678", "+1 (415) 555-0100", "415-555-0100", "080 6900 0000")
SECRETS = (
    "sk_prod_0123456789abcdefghijABCDEFGHIJ",
    "AIzaSyA0123456789abcdefghijklmnopqrs",
    "gsk_0123456789abcdefghijklmnop",
    "sk-proj-0123456789abcdefghij",
    TOKEN,
)


@pytest.fixture
def lines() -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Set the log up as JSON into memory; calling the fixture gives what was written since."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    log.set_up("debug", "json", secrets=[TOKEN, ""], stream=stream)

    def written() -> list[dict[str, Any]]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    written.text = stream.getvalue  # type: ignore[attr-defined]
    yield written
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()


def _everywhere(text: str) -> None:
    """Log `text` in every way that somebody might."""
    mine, theirs = structlog.get_logger("trunkline.test"), logging.getLogger("somebody.else")
    mine.info("call.answered", detail=text, nested={"deep": [f"<{text}>", (text,)]}, path=f"/x?to={text}&y=1")
    mine.bind(note=f"dialled {text}, twice").warning(f"odd.{text}")
    mine.info("call.said %s", text)
    theirs.warning("peer %s said %s", f"sip:{text}@carrier.example", text)
    logging.getLogger("aiohttp.access").info('127.0.0.1 "GET /calls?number=%s HTTP/1.1" 200', text)
    try:
        raise ValueError(f"cannot dial {text}")
    except ValueError:
        mine.exception("call.failed")
        theirs.exception("failed")
    with log.call_bound("c-1", peer=text):
        mine.error("call.ended", error=OSError(f"no route to {text}"))


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_is_written(lines: Any, number: str) -> None:
    _everywhere(number)
    assert number not in lines.text()
    assert number[:-2] not in lines.text()
    assert len(lines()) == 8
    assert sum("ValueError: cannot dial" in line.get("exception", "") for line in lines()) == 2


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_written(lines: Any, secret: str) -> None:
    _everywhere(secret)
    assert secret[8:] not in lines.text()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET /media/smartflo/abcdefghij0123456789 HTTP/1.1", "abcdefghij0123456789"),
        ("GET /smartflo/abcdefghij0123456789?x=1", "abcdefghij0123456789"),
        ("/webhook?secret=hunter2&event=x", "hunter2"),
        ("/events?ticket=abc.def", "abc.def"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("postgresql://bob:hunter2@db.example/x", "hunter2"),
        ("/smartflo/endpoint?from=%2B919812345678", "9812345678"),
    ],
)
def test_secrets_in_addresses_are_masked(text: str, hidden: str) -> None:
    assert hidden not in log.mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "GET /smartflo/audio",
        "GET /smartflo/endpoint",
        "2026-11-21T13:02:17Z",
        "2026-11-21 13:02:17",
        "123e4567-e89b-12d3-a456-426614174000",
        "00000001-e89b-12d3-a456-426614174000",
        "ORD-00012",
        "took 123456 us at 8000 Hz",
        "1763730000.12345",
        "127.0.0.1:5432",
        "v1.2.3",
        "call.answered",
    ],
)
def test_what_is_no_number_stays_readable(text: str) -> None:
    assert log.mask(text) == text


@pytest.mark.parametrize(
    ("number", "shown"), [("+919812345678", "+91********78"), ("100", "100"), ("", ""), ("911", "911")]
)
def test_a_masked_number_keeps_its_ends(number: str, shown: str) -> None:
    assert log.mask_number(number) == shown


def test_fields_that_are_secrets_by_name_are_hidden(lines: Any) -> None:
    fields = {"media_token": "x", "password": "y", "api_key": "z", "Authorization": "w", "webhook_secret": ""}
    structlog.get_logger().info("service.started", **fields, key_id="abc")
    (line,) = lines()
    assert {name: line[name] for name in fields} == {**dict.fromkeys(fields, "***"), "webhook_secret": ""}
    assert line["key_id"] == "abc"


def test_numbers_that_measure_stay_numbers(lines: Any) -> None:
    structlog.get_logger().info("call.ended", took_s=1.5, sent_bytes=123_456_789, ok=True, none=None)
    (line,) = lines()
    assert (line["took_s"], line["sent_bytes"], line["ok"], line["none"]) == (1.5, 123_456_789, True, None)


def test_a_line_has_time_level_name_and_event(lines: Any) -> None:
    structlog.get_logger("trunkline.test").info("call.answered")
    logging.getLogger("aiohttp.server").error("Error handling request")
    mine, theirs = lines()
    assert (mine["level"], mine["logger"], mine["event"]) == ("info", "trunkline.test", "call.answered")
    assert mine["at"].endswith("Z")
    assert (theirs["level"], theirs["logger"], theirs["event"]) == (
        "error",
        "aiohttp.server",
        "Error handling request",
    )


async def test_the_calls_id_is_bound_for_its_tasks_and_for_no_other(lines: Any) -> None:
    async def call(call_id: str) -> None:
        with log.call_bound(call_id):
            await asyncio.sleep(0)
            logging.getLogger("library").warning("deep below")

    await asyncio.gather(call("c1"), call("c2"))
    structlog.get_logger().info("service.idle")
    seen = [line for line in lines() if line["logger"] != "asyncio"]
    assert [line.get("call_id") for line in seen] == ["c1", "c2", None]


def test_the_level_holds_for_everybody(lines: Any) -> None:
    log.set_up("info", "json", stream=io.StringIO())
    assert not logging.getLogger("aiohttp.access").isEnabledFor(logging.INFO)
    assert not logging.getLogger("anything").isEnabledFor(logging.DEBUG)


def test_a_file_gets_json_lines(lines: Any, tmp_path: Path) -> None:
    log.set_up("info", "console", str(tmp_path / "trunkline.log"))
    structlog.get_logger().info("call.answered", number="+919812345678")
    (line,) = (tmp_path / "trunkline.log").read_text().splitlines()
    assert json.loads(line)["number"] == "+91********78"


def test_people_get_plain_lines(lines: Any) -> None:
    stream = io.StringIO()
    log.set_up("info", "console", stream=stream)
    structlog.get_logger().info("call.answered", took_s=0.2)
    assert "call.answered" in stream.getvalue()
    assert "took_s=0.2" in stream.getvalue()


def test_setting_up_twice_writes_each_line_once(lines: Any) -> None:
    stream = io.StringIO()
    log.set_up("info", "json", stream=stream)
    log.set_up("info", "json", stream=stream)
    structlog.get_logger().info("x.y")
    assert len(stream.getvalue().splitlines()) == 1
