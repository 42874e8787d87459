"""The command line: exit codes 0, 1, 2; errors that say what to do next; no traceback whatever is typed."""

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from trunkline import __version__
from trunkline.cli import run

pytestmark = pytest.mark.slow

PLAIN = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "DATA_DIR", "DATABASE_URL", "TRUNKLINE_CONFIG", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield
    structlog.reset_defaults()  # the command line directs the log of the whole process
    logging.getLogger().handlers.clear()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return " ".join(PLAIN.sub("", out + err).split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert said(capsys) == f"trunkline {__version__}"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nonsense"], 2, "No such command"),
        (["serve", "--bogus"], 2, "No such option"),
        (["serve", "--port", "many"], 2, "integer"),
        (["serve", "--port", "70000"], 2, "server.port"),
        (["check", "--set", "limits.max_cals=3"], 2, "did you mean limits.max_calls?"),
        (["check", "--set", "limits.max_calls"], 2, "KEY=VALUE"),
        (["check", "--config", "nowhere.toml"], 2, "nowhere.toml"),
        (["serve", "--profile", "gemni"], 2, "gemini"),
        (["serve", "--host", "0.0.0.0", "--port", "0"], 2, "trunkline keys create"),
        (["serve", "--data-dir", "/proc/nowhere", "--port", "0"], 2, "--data-dir"),
        (["serve", "--host", "203.0.113.1"], 2, "'203.0.113.1' is no address of this machine"),
        (["serve", "--host", "no.such.host.invalid"], 2, "the host 'no.such.host.invalid' is not known here"),
        (["keys", "revoke", "nobody"], 2, "trunkline keys list"),
        (["keys", "create", "--kind", "emperor"], 2, "prod, test, admin"),
        (["keys", "create", "--scope", "everything"], 2, "calls:read"),
    ],
)
def test_what_is_asked_wrongly_is_told_with_what_is_right(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    assert words in said(capsys)


def test_a_taken_port_names_the_way_out(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    from trunkline.service import listen

    (taken,) = listen("127.0.0.1", unused_tcp_port)
    with taken:
        assert run(["serve", "--port", str(unused_tcp_port), "--profile", "echo"]) == 2
    assert "choose another port" in said(capsys)


def test_postgresql_without_its_driver_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # what an import finds where it is not installed
    assert run(["keys", "list", "--database-url", "postgresql://somebody@127.0.0.1:1/none"]) == 2
    assert "pip install 'trunkline[postgres]'" in said(capsys)


def test_keys_are_made_listed_and_revoked(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "create", "--kind", "prod", "--scope", "calls:read", "--label", "shop"]) == 0
    text = said(capsys)
    secret, key_id = re.findall(r"sk_prod_\w+", text)[0], re.findall(r"Key (\w+)", text)[0]
    assert run(["keys", "list"]) == 0
    listed = said(capsys)
    assert key_id in listed
    assert "shop" in listed
    assert secret not in listed
    assert run(["keys", "revoke", key_id]) == 0
    assert run(["keys", "revoke", key_id]) == 2


def test_check_says_what_was_chosen_and_why_and_hides_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "9001")
    assert run(["check", "--set", "auth.media_token=abcdefghij0123456789"]) == 0
    text = said(capsys)
    assert "server.port 9001 environment PORT" in text
    assert "auth.media_token" in text
    assert "abcdefghij0123456789" not in text
    assert "limits.max_calls" not in text
    assert run(["check", "--all"]) == 0
    assert "limits.max_calls" in said(capsys)


def test_the_doctor_says_what_works_and_what_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://bot.example.com"
    assert run(["doctor", "--local", "--profile", "echo", "--port", "0", "--set", f"server.public_url={url}"]) == 0
    text = said(capsys)
    for part in ("port", "data folder", "database", "access", "clock", "voice", "agent", "way in"):
        assert f"✓ {part}" in text, part
    assert "wss://bot.example.com/media/smartflo/TOKEN" in text
    assert "https://bot.example.com/smartflo/endpoint?secret=SECRET" in text


def test_the_doctor_finds_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    broken = ["--host", "0.0.0.0", "--database-url", "postgresql://nobody@127.0.0.1:1/none"]
    assert run(["doctor", "--local", "--profile", "echo", *broken]) == 1
    text = said(capsys)
    assert "✗ database" in text
    assert "DATABASE_URL" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["call", "--fault", "zzz=1"], 1, "no such setting; there are: message_ms, loss"),
        (["call", "--loss", "500"], 1, "must be a number from 0 to 100"),
        (["call", "--loss", "nan"], 1, "must be a number from 0 to 100"),
        (["call", "--voice", "caruso"], 1, "voice 'caruso' is unknown; there are: kal16"),
        (["call", "--out", "/proc/zz/calls"], 1, "--out /proc/zz/calls: cannot be written"),
        (["sim", "load", "--calls", "0"], 2, "--calls"),
        (["sim", "load", "--calls", "-3"], 2, "--calls"),
        (["sim", "load", "--seconds", "0"], 2, "--seconds"),
    ],
)
def test_the_simulator_refuses_before_it_calls(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.call").write_text('wait for agent\nsay "hello"\n')
    nobody = [] if arguments[0] == "sim" else ["--script", "a.call", "--to", "ws://127.0.0.1:1/smartflo/audio"]
    assert run([*arguments, *nobody]) == code
    assert words in said(capsys)
    assert not (tmp_path / "data" / "calls").exists() or not list((tmp_path / "data" / "calls").iterdir())


def test_call_and_sim_are_handed_to_the_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--help"]) == 0
    assert run(["call", "--help"]) == 0
    assert "--script" in said(capsys)
    assert run(["call", "--nonsense"]) == 2
