"""Reading the configuration: precedence, expansion, environment names, and errors that help."""

from pathlib import Path

import pytest

from trunkline.config import Settings
from trunkline.config_env import ENV_NAMES, secret_values
from trunkline.config_load import (
    Configuration,
    configure,
    database_url,
    explain,
    is_loopback,
    load,
    require_safe_bind,
)
from trunkline.errors import ConfigError

EARLIER = (
    "HOST PORT DATA_DIR LOG_LEVEL CORS_ORIGINS DATABASE_URL DEBUG VOICE_TIMEOUT SAMPLE_RATE CHANNELS LLM_MODEL "
    "GEMINI_API_KEY DEEPGRAM_API_KEY GROQ_API_KEY OPENAI_API_KEY ELEVENLABS_API_KEY DEFAULT_SPEAKER_WAV REDIS_URL "
    "FONOSTER_API_KEY FONOSTER_API_SECRET FONOSTER_ACCESS_KEY_ID FONOSTER_FROM_NUMBER GEMINI_TEMPERATURE TTS_PROVIDER "
    "GEMINI_MAX_TOKENS MAX_AUDIO_LATENCY_MS TARGET_RESPONSE_TIME_MS AUDIO_CHUNK_MS TTS_AGREE_TO_CPML"
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No config.toml of the project in the way."""
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    """A config file with this text."""
    path = tmp_path / "some.toml"
    path.write_text(text)
    return path


def source(configuration: Configuration, key: str) -> str:
    """Why a value is in force."""
    return next(row.source for row in explain(configuration) if row.key == key)


def test_nothing_given_is_the_defaults() -> None:
    assert load() == Settings()


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, "[server]\nport = 1\ndrain_s = 2\n[limits]\nmax_calls = 3\n")
    read = configure(path, {"PORT": "10"}, {"server.port": 100, "server.host": None})
    server = read.settings.server
    assert (server.port, server.drain_s, read.settings.limits.max_calls) == (100, 2.0, 3)
    assert configure(path, {"PORT": "10"}).settings.server.port == 10
    assert [source(read, key) for key in ("server.port", "server.drain_s", "server.host")] == [
        "command line",
        "some.toml",
        "default",
    ]
    assert source(configure(path, {"PORT": "10"}), "server.port") == "environment PORT"


def test_the_file_is_found_here_or_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('name = "here"')
    other = written(tmp_path, 'name = "there"')
    assert load().name == "here"
    assert load(env={"TRUNKLINE_CONFIG": str(other)}).name == "there"
    assert load(other, {"TRUNKLINE_CONFIG": "nowhere"}).name == "there"


def test_variables_are_expanded_everywhere(tmp_path: Path) -> None:
    text = """
    name = "${WHO:-nobody} for $$5"
    [server]
    port = "${SOME_PORT}"
    cors_origins = ["https://${DOMAIN}"]
    [auth]
    media_token = "${TOKEN}"
    [carriers.smartflo]
    dids = "${DIDS:-}"
    """
    (tmp_path / "token").write_text("0123456789abcdef\n")
    env = {"SOME_PORT": "81", "DOMAIN": "x.example", "TOKEN_FILE": str(tmp_path / "token"), "WHO": ""}
    read = configure(written(tmp_path, text), env)
    settings = read.settings
    assert (settings.name, settings.server.port) == ("nobody for $5", 81)
    assert settings.server.cors_origins == ("https://x.example",)
    assert settings.auth.media_token == "0123456789abcdef"
    assert settings.carriers.smartflo.dids == ()
    assert source(read, "server.port") == "some.toml (${SOME_PORT})"


@pytest.mark.parametrize(
    ("env", "key", "value"),
    [
        ({"HOST": "0.0.0.0"}, "server.host", "0.0.0.0"),
        ({"PORT": "8080"}, "server.port", "8080"),
        ({"DATA_DIR": "/var/lib/x"}, "server.data_dir", "/var/lib/x"),
        ({"LOG_LEVEL": "WARN"}, "log.level", "warning"),
        ({"DEBUG": "true"}, "log.level", "debug"),
        ({"DEBUG": "0"}, "log.level", "info"),
        ({"DEBUG": "1", "LOG_LEVEL": "ERROR"}, "log.level", "error"),
        (
            {"CORS_ORIGINS": "http://a.example, http://b.example"},
            "server.cors_origins",
            '["http://a.example","http://b.example"]',
        ),
        ({"DATABASE_URL": "postgresql://bob:hunter2@db/x"}, "database_url", "postgresql://bob:***@db/x"),
        ({"TRUNKLINE__AI__OFFLINE__MIN_CONFIDENCE": "0.25"}, "ai.offline.min_confidence", "0.25"),
        ({"TRUNKLINE__NAME": "Bot"}, "name", "Bot"),
        ({"PORT": ""}, "server.port", "8006"),
    ],
)
def test_environment_names(env: dict[str, str], key: str, value: str) -> None:
    assert next(row.value for row in explain(configure(env=env)) if row.key == key) == value


@pytest.mark.parametrize("name", EARLIER.split())
def test_every_earlier_name_is_known(name: str) -> None:
    assert name in {known.name for known in ENV_NAMES}


def test_known_names_are_told_with_what_they_do_and_secrets_are_not_shown() -> None:
    read = configure(env={"VOICE_TIMEOUT": "30", "GROQ_API_KEY": "hunter2-hunter2", "PORT": "9", "PATH": "/bin"})
    told = {row.name: (row.value, row.status) for row in read.environment}
    assert told == {
        "VOICE_TIMEOUT": ("30", "known, not used yet"),
        "GROQ_API_KEY": ("set, not shown", "known, not used yet"),
        "PORT": ("9", "sets server.port"),
    }


def test_nothing_that_is_shown_holds_a_secret() -> None:
    env = {known.name: "hunter2-hunter2-hunter2" for known in ENV_NAMES if known.secret}
    env["DATABASE_URL"] = "postgresql://bob:hunter2@db/x"
    env["REDIS_URL"] = "unix:///run/redis.sock?password=hunter2"
    env["TRUNKLINE__AUTH__WEBHOOK_SECRET"] = "hunter2-hunter2-hunter2"
    read = configure(env=env)
    assert "hunter2" not in repr([*explain(read), *read.environment])
    assert "postgresql://bob:hunter2@db/x" in secret_values(env)


@pytest.mark.parametrize("key", ["auth.media_token", "database_url", "redis_url"])
def test_an_error_about_a_secret_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        load(overrides={key: "hunter2!"})
    with pytest.raises(ConfigError, match=key) as wrong_type:
        load(overrides={key: {"hunter2!": 1}})
    assert "hunter2!" not in str(caught.value) + str(wrong_type.value)


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:///x.db\n")
    read = configure(env={"DATABASE_URL_FILE": str(tmp_path / "url")})
    assert read.settings.database_url == "sqlite:///x.db"
    assert source(read, "database_url") == "environment DATABASE_URL_FILE"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[server]\nprot = 1", "some.toml: unknown key server.prot; did you mean server.port?"),
        ("port = 1", "some.toml: unknown key port; did you mean server.port?"),
        ("[sever]\nport = 1", "unknown key sever; did you mean server?"),
        ('[agents.x]\ngreting = "hi"', "unknown key agents.x.greting; did you mean agents.x.greeting?"),
        ('[[route]]\nto = "*"\nagnt = "x"', r"unknown key route\[0\].agnt; did you mean route\[0\].agent?"),
        ("[limits]\nbanana = 1", "unknown key limits.banana; known here: limits.longest_call_s"),
        ('[server]\nport = "x"', "some.toml: server.port = 'x': must be a whole number from 0 to 65535"),
        ("[server]\nport = 70000", "server.port = 70000: must be a whole number from 0 to 65535"),
        ("[server]\nport = true", "server.port = True: must be a whole number"),
        ("[server]\nport = [1]", r"server.port = \[1\]: must be a whole number"),
        ("[server]\ndrain_s = 0", "server.drain_s = 0: must be a number above 0 up to 86400"),
        ("[server]\ndrain_s = nan", "server.drain_s = nan: must be a number above 0"),
        ("[server]\ndrain_s = inf", "server.drain_s = inf: must be a number above 0"),
        ('[server]\ndata_dir = ""', "server.data_dir = '': must be a text that is not empty"),
        ("[server]\ncors_origins = [1]", r"server.cors_origins = \[1\]: must be a list of texts"),
        ('[log]\nlevel = "loud"', "log.level = 'loud': must be one of debug, error, info, warning"),
        ("server = 1", r"server = 1: must be a section \(\[server\]\)"),
        ("agents = 1", r"agents = 1: must be sections \(\[agents.NAME\]\)"),
        ('route = "x"', r"route: must be a list of tables \(\[\[route\]\]\)"),
        ('[[route]]\nto = "*"', r"route\[0\].agent: is missing and has no default"),
        ('[[route]]\nto = "*"\nagent = "recepcionist"', "no .agents.recepcionist.; did you mean 'receptionist'?"),
        ('[agents.shop]\nvoice = "rms"', "default_agent = 'receptionist': .* there are shop"),
        ("[ai.offline]\nshort_end_of_turn_s = 2", "= 2.0: must be at most ai.offline.end_of_turn_s"),
        ('[auth]\nmedia_token = "short"', "auth.media_token: must be 16 to 128 characters"),
        ('[auth]\nallow_unauthenticated = ["ws"]', "has 'ws': must be a path"),
        ('[server]\npublic_url = "voice.example"', "server.public_url = 'voice.example': must be https://"),
        ('[server]\nmetrics_bind = "9106"', "server.metrics_bind = '9106': must be HOST:PORT"),
        ('[audiosocket]\nlisten = "9019"', "audiosocket.listen = '9019': must be HOST:PORT"),
        ('[audiosocket]\nlisten = "0.0.0.0:9019"', "other machines could call, .* audiosocket.allow"),
        ('[audiosocket]\nlines = ["xyz=1"]', "audiosocket.lines has 'xyz=1': must be UUID=NUMBER"),
        ('[audiosocket]\nallow = ["lan"]', "audiosocket.allow has 'lan': must be an address"),
        ('[audiosocket]\nrate = 16001', "audiosocket.rate"),
        ('[server]\ncors_origins = ["x"]', "server.cors_origins has 'x': must be https://"),
        ('database_url = "mysql://x/y"', "database_url begins with 'mysql': must be sqlite"),
        ('name = "${NOT_SET}"', r"name: \$\{NOT_SET\} is not set"),
        ('name = "${not closed"', r"name: after `\$\{` a name"),
        ("name = ", "some.toml: not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_what_is_allowed(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint.replace("?", r"\?")):
        load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"PORT": "abc"}, r"PORT \(server.port\) = 'abc': must be a whole number from 0 to 65535"),
        ({"DEBUG": "perhaps"}, "DEBUG = 'perhaps': must be 1, 0"),
        ({"TRUNKLINE__SERVER__PROT": "1"}, "unknown key TRUNKLINE__SERVER__PROT; did you mean TRUNKLINE__SERVER__PORT"),
        ({"DATABASE_URL": "x", "DATABASE_URL_FILE": "y"}, "DATABASE_URL and DATABASE_URL_FILE are both set"),
        ({"DATABASE_URL_FILE": "/nowhere/at/all"}, "DATABASE_URL_FILE = '/nowhere/at/all': cannot be read"),
        ({"TRUNKLINE_CONFIG": "/nowhere.toml"}, "/nowhere.toml: cannot be read"),
    ],
)
def test_a_wrong_environment_is_told(env: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load(env=env)


def test_what_kubernetes_puts_into_every_pod_does_no_harm() -> None:
    env = {"TRUNKLINE_SERVER_PORT": "tcp://10.0.0.1:80", "TRUNKLINE_PORT": "tcp://10.0.0.1:80"}
    assert load(env=env) == Settings()


def test_the_database_is_a_file_in_the_data_folder_unless_told() -> None:
    assert database_url(load()) == "sqlite:///data/trunkline.db"
    assert database_url(load(env={"DATA_DIR": "/var/lib/t"})) == "sqlite:////var/lib/t/trunkline.db"
    assert database_url(load(env={"DATABASE_URL": "postgres://db/x"})) == "postgres://db/x"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "voice.example", "", "127.0.0.1.evil.example"])
def test_other_addresses_need_a_key(host: str) -> None:
    assert not is_loopback(host)
    if host:
        read = configure(env={"HOST": host})
        with pytest.raises(ConfigError, match=r"environment HOST.*trunkline keys create"):
            require_safe_bind(read, has_keys=False)
        require_safe_bind(read, has_keys=True)
        require_safe_bind(configure(env={"HOST": host}, overrides={"auth.allow_unauthenticated": "*"}), has_keys=False)


def test_a_bare_path_that_is_allowed_is_not_an_open_api() -> None:
    read = configure(overrides={"server.host": "0.0.0.0", "auth.allow_unauthenticated": ["/ws"]})
    with pytest.raises(ConfigError, match="command line"):
        require_safe_bind(read, has_keys=False)


def test_advice_names_the_command_as_it_is_typed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = configure(env={"HOST": "0.0.0.0"})
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "trunkline").write_text("")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"`\.venv/bin/trunkline keys create"):
        require_safe_bind(read, has_keys=False)
    monkeypatch.setattr("sys.prefix", "/nowhere")
    with pytest.raises(ConfigError, match=r"-m trunkline keys create"):
        require_safe_bind(read, has_keys=False)


@pytest.mark.parametrize(
    "more", ['listen = "[::1]:9019"', 'listen = "localhost:0"', 'listen = "0.0.0.0:1"\nallow = ["10.0.0.0/8"]']
)
def test_audiosocket_is_for_this_machine_and_those_that_are_named(tmp_path: Path, more: str) -> None:
    assert load(written(tmp_path, f"[audiosocket]\n{more}")).audiosocket.listen


def test_audiosocket_rate_from_the_environment(tmp_path: Path) -> None:
    assert load(written(tmp_path, ""), {"TRUNKLINE__AUDIOSOCKET__RATE": "16000"}).audiosocket.rate == 16000
