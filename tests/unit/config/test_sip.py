"""`[sip]`: what must fit, what is hidden, how it is switched off."""

from pathlib import Path

import pytest

from trunkline.cli_service import all_secrets
from trunkline.config_load import configure, explain, load
from trunkline.errors import ConfigError

TRUNK = '[[sip.trunk]]\nname = "acme"\nhost = "sip.example.com"\n'


def _written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "sip.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("word", ["off", "0", "false", "no"])
def test_the_environment_switches_it_off(word: str) -> None:
    assert load().sip.enabled
    assert not load(env={"TRUNKLINE_SIP": word}).sip.enabled


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[sip]\nlisten = ["5060"]', r"sip.listen has '5060': must be udp:HOST:PORT"),
        ('[sip]\nlisten = ["udp:127.0.0.1:66000"]', "sip.listen has"),
        ('[sip]\nlisten = ["tls:0.0.0.0:5061"]', "sip.tls_cert: .* needs both"),
        ('[sip]\nrtp_ports = "20000-10000"', "sip.rtp_ports = .* FIRST-LAST"),
        ('[sip]\nclock_rate = 11025', "sip.clock_rate = 11025: must be"),
        ('[sip]\nallow = ["sip.example.com"]', "sip.allow has 'sip.example.com': must be an address"),
        (TRUNK + TRUNK, r"sip.trunk\[0\].name = 'acme': another trunk"),
        (TRUNK + "register = true", r"sip.trunk\[0\].user: register = true needs a user"),
        (TRUNK + 'headers = ["X-Account 17"]', r"headers has 'X-Account 17'"),
        (TRUNK + 'headers = ["X-Account: 17\\r\\nX-More: 1"]', r"headers has"),
        (TRUNK + 'outcomes = ["603=nobody"]', r"outcomes has '603=nobody'.*no_answer"),
        (TRUNK + 'outcomes = ["busy=busy"]', r"outcomes has"),
        (TRUNK + 'allow = ["x"]', r"sip.trunk\[0\].allow has 'x'"),
        ('[[sip.user]]\nname = "desk"', "password: is missing"),
        ('[sip]\ncodecs = ["PCMU", "GSM"]', "sip.codecs has 'GSM': must be of PCMU, PCMA, G722, L16, opus"),
        ('[sip]\ncodecs = []', "sip.codecs = \\[\\]: must name at least one"),
        ('[sip]\nalgorithms = ["MD5", "MD5"]', "sip.algorithms has 'MD5': must be of MD5, SHA-256, each once"),
        ('[sip]\ntimer_s = 60', "sip.timer_s = 60: must be 0 .none. or at least 90"),
        ('[sip]\nnameservers = ["dns.example.com"]', "sip.nameservers has 'dns.example.com': must be an address"),
        ('[sip]\nnameservers = ["192.0.2.1:99999"]', "sip.nameservers has"),
        ('[sip]\njitter_ms = 10', "sip.jitter_ms = 10: must be a whole number from 40 to 2000"),
        (TRUNK + 'codecs = ["pcmu"]', r"sip.trunk\[0\].codecs has 'pcmu'"),
        (TRUNK + 'identity = "to"', "identity = 'to': must be one of from, pai, ppi, rpid"),
        (TRUNK + 'dtmf = "tones"', "dtmf = 'tones': must be one of auto, inband, info, rfc4733"),
        (TRUNK + "timer_s = 30", r"sip.trunk\[0\].timer_s = 30"),
        ("".join(TRUNK.replace("acme", f"t{at}") for at in range(121)), "sip.trunk has 121 trunks: .* at most 120"),
        (TRUNK + "register_s = 5", "register_s = 5: must be a whole number from 10"),
        (TRUNK + "privacy = true", r"sip.trunk\[0\].caller: privacy = true needs a number"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(_written(tmp_path, text))


def test_passwords_are_not_shown_and_hidden_in_the_log(tmp_path: Path) -> None:
    text = f'[[sip.user]]\nname = "desk"\npassword = "hunter2"\n{TRUNK}password = "hunter3"'
    read = configure(_written(tmp_path, text))
    shown = {row.key: row.value for row in explain(read)}
    assert shown["sip.user[0].password"] == shown["sip.trunk[0].password"] == "set, not shown"
    assert not any("hunter" in value for value in shown.values())
    assert {"hunter2", "hunter3"} <= set(all_secrets(read.settings, {}))
