"""What the doctor makes of what it sees: certificates, clocks, keys, and what it prints to be pasted."""

import re
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest

from trunkline.config import Settings
from trunkline.config_load import Configuration
from trunkline.doctor import probes
from trunkline.doctor_finding import Finding, Reach
from trunkline.doctor_keys import VENDORS, judged, keys, looks_wrong, vendors_of
from trunkline.doctor_paste import paste
from trunkline.doctor_public import certificate_finding, clock_finding, ours, strangers_finding, way_of
from trunkline.tls import Facts

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GOOD = Facts(("voice.example.com",), "R11", NOW - timedelta(days=30), NOW + timedelta(days=60), 2, self_signed=False)
GEMINI = next(vendor for vendor in VENDORS if vendor.name == "Gemini")
TWILIO = next(vendor for vendor in VENDORS if vendor.name == "Twilio")


@pytest.mark.parametrize(
    ("facts", "why", "status", "words"),
    [
        (GOOD, "", "ok", "60 days"),
        (replace(GOOD, not_after=NOW - timedelta(hours=1)), "certificate has expired", "fail", "expired on 2026-11-21"),
        (replace(GOOD, not_before=NOW + timedelta(hours=1)), "", "fail", "good only from"),
        (replace(GOOD, names=("other.example.com",)), "", "fail", "other.example.com, not for voice.example.com"),
        (replace(GOOD, names=()), "", "fail", "no name at all"),
        (replace(GOOD, names=("*.example.com",)), "", "ok", "voice.example.com"),
        (replace(GOOD, self_signed=True), "self-signed certificate", "fail", "signed by itself"),
        (replace(GOOD, length=1), "unable to get local issuer certificate", "fail", "unable to get local issuer"),
        (replace(GOOD, not_after=NOW + timedelta(days=5)), "", "warn", "in 5.0 days"),
        (replace(GOOD, not_before=NOW - timedelta(hours=6), not_after=NOW + timedelta(hours=6)), "", "ok", "until"),
    ],
)
def test_certificates(facts: Facts, why: str, status: str, words: str) -> None:
    found = certificate_finding("certificate", facts, "voice.example.com", NOW, why)
    assert (found.status, words in found.text) == (status, True), found
    assert bool(found.then) == (status != "ok")


def test_an_incomplete_chain_is_told_how_to_be_made_whole() -> None:
    found = certificate_finding("certificate", replace(GOOD, length=1), "voice.example.com", NOW, "no issuer")
    assert "fullchain.pem" in found.then


@pytest.mark.parametrize(
    ("answered", "here", "meant", "status"),
    [(401, False, False, "ok"), (200, False, False, "fail"), (200, True, False, "ok"), (200, False, True, "warn")],
)
def test_an_api_that_is_open_from_outside_is_found(answered: int, here: bool, meant: bool, status: str) -> None:
    found = strangers_finding(answered, here=here, meant=meant)
    assert found.status == status
    if status == "fail":
        assert "X-Forwarded-For" in found.then


@pytest.mark.parametrize(("off_s", "status"), [(0.4, "ok"), (-4.9, "ok"), (6, "warn"), (-30, "warn"), (61, "fail")])
def test_clocks(off_s: float, status: str) -> None:
    found = clock_finding(off_s, "bot.example.com")
    assert (found.status, "bot.example.com" in found.text) == (status, True)
    if off_s < -5:
        assert "behind" in found.text


def test_whose_address_it_is() -> None:
    assert ours([ip_address("127.0.0.1")])
    assert not ours([ip_address("203.0.113.9"), ip_address("2001:db8::9")])


def test_the_public_address_in_its_parts() -> None:
    settings = msgspec.convert({"server": {"public_url": "https://voice.example.com:8443/bot/"}}, Settings)
    way = way_of(settings)
    assert way is not None
    assert (way.base, way.host, way.port, way.secure) == (
        "https://voice.example.com:8443/bot",
        "voice.example.com",
        8443,
        True,
    )
    assert way_of(Settings()) is None


def test_a_local_look_asks_nobody() -> None:
    local = {name for name, _ in probes(Reach.LOCAL)}
    assert {"way in", "clock", "keys", "TLS files"} <= local
    assert len(probes(Reach.LOCAL)) < len(probes(Reach.PUBLIC)) == len(probes(Reach.ONLINE))


GOOD_KEYS = {
    "GEMINI_API_KEY": "AIza" + "x" * 35, "DEEPGRAM_API_KEY": "0123456789abcdef" * 2 + "01234567",
    "GROQ_API_KEY": "gsk_" + "x" * 52, "ELEVENLABS_API_KEY": "sk_" + "0" * 48, "OPENAI_API_KEY": "sk-proj-" + "x" * 40,
    "TWILIO_AUTH_TOKEN": "0123456789abcdef" * 2, "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "SMARTFLO_API_TOKEN": "eyJh.eyJz.c2ln", "SMARTFLO_C2C_API_KEY": "12345678-abcd",
}  # fmt: skip


async def test_keys_that_look_like_keys_are_fine_and_those_that_are_missing_are_named() -> None:
    found = await keys(GOOD_KEYS, online=False)
    assert {one.status for one in found} == {"ok"}
    assert len(found) == len(VENDORS)
    (missing,) = await keys({}, online=False)
    assert missing.status == "ok"
    assert all(vendor.names[0] in missing.text for vendor in VENDORS)


@pytest.mark.parametrize(
    ("key", "status", "words"),
    [("AIzaShort", "warn", "does not look like one"), ('"' + "AIza" + "x" * 35 + '"', "fail", "quotes"),
     ("AIza" + "x" * 35 + " ", "fail", "blanks"), ("AIza" + "x" * 34 + "é", "fail", "other things")],
)  # fmt: skip
async def test_a_key_that_looks_wrong_is_told_and_never_shown(key: str, status: str, words: str) -> None:
    (found, _) = await keys({"GEMINI_API_KEY": key}, online=False)
    assert (found.status, words in found.text) == (status, True)
    assert key.strip('" ') not in found.text + found.then


def test_twilios_key_needs_its_account_to_place_calls() -> None:
    found = looks_wrong(TWILIO, "TWILIO_AUTH_TOKEN", "0" * 32, {})
    assert found is not None
    assert (found.status, "TWILIO_ACCOUNT_SID" in found.text) == ("warn", True)


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [(200, "{}", "ok"), (401, "", "fail"), (403, "", "fail"), (429, "", "warn"), (500, "", "warn"),
     (400, '{"error": {"reason": "API_KEY_INVALID"}}', "fail"), (400, "bad page size", "warn")],
)  # fmt: skip
def test_what_a_vendor_says(status: int, body: str, verdict: str) -> None:
    found = judged(GEMINI, status, body)
    assert (found.status, bool(found.then)) == (verdict, verdict != "ok")


def test_a_vendor_is_asked_where_the_settings_say() -> None:
    settings = msgspec.convert({"ai": {"gemini": {"base_url": "https://here.example/", "ca_file": "ca.pem"}}}, Settings)
    gemini, *others = vendors_of(settings)
    assert (gemini.name, gemini.url) == ("Gemini", "https://here.example/v1beta/models?pageSize=1")
    assert gemini.ca_file == "ca.pem"
    assert tuple(others) == VENDORS[1:]
    assert vendors_of(Settings()) == VENDORS


def test_every_field_of_both_portals_is_told(tmp_path: Path) -> None:
    settings = msgspec.convert(
        {"server": {"public_url": "https://bot.example.com/", "data_dir": str(tmp_path)},
         "auth": {"media_token": "m" * 24, "webhook_secret": "w" * 24}},
        Settings,
    )  # fmt: skip
    text = "\n".join(paste(settings))
    for part in (
        "wss://bot.example.com/media/smartflo/TOKEN", "https://bot.example.com/smartflo/endpoint?secret=SECRET",
        "Voice Bot", "My Numbers", "X-Webhook-Secret: SECRET", "https://bot.example.com/webhooks/smartflo",
        "A call comes in", "https://bot.example.com/answer/twilio?secret=SECRET", "Call status changes",
        "https://bot.example.com/webhooks/twilio?secret=SECRET", "--show-secrets",
    ):  # fmt: skip
        assert part in text, part
    assert not re.search("m{24}|w{24}", text)
    shown = "\n".join(paste(settings, show_secrets=True))
    assert "m" * 24 in shown
    assert "X-Webhook-Secret: " + "w" * 24 in shown


def test_where_twilio_signs_no_secret_stands_in_an_address(tmp_path: Path) -> None:
    tree = {"server": {"data_dir": str(tmp_path)}, "carriers": {"twilio": {"auth_token": "0" * 32}}}
    text = "\n".join(paste(msgspec.convert(tree, Settings)))
    assert "https://YOUR-HOST/answer/twilio   HTTP POST" in text
    assert "0" * 32 not in text


async def test_a_temporary_folder_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    look, here = dict(probes(Reach.LOCAL))["temporary folder"], Configuration(Settings())
    good = await look(here)
    assert isinstance(good, Finding)
    assert good.status == "ok"
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    found = await look(here)
    assert isinstance(found, Finding)
    assert (found.status, "/proc/nowhere" in found.text, "TMPDIR" in found.then) == ("fail", True, True)
