"""The doctor on vendors' keys: which are there, whether they look like keys, and, if asked to, what the vendor says."""

import base64
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import aiohttp

from trunkline.config import Settings
from trunkline.config_env import lookup
from trunkline.doctor_finding import Finding

ASK_S = 8.0
_HEX = r"[0-9a-f]{%d}"


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's key. `names`: environment names, the first that is set counts; `where`: where keys are made."""

    name: str
    names: tuple[str, ...]
    shape: re.Pattern[str]
    where: str
    url: str = ""  # GET, answers 2xx to a good key; "": cannot be asked
    headers: Callable[[str], Mapping[str, str]] = lambda key: {"Authorization": f"Bearer {key}"}
    account: str = ""  # environment name of the account that belongs to the key, {account} in `url`
    ca_file: str = ""  # whom to trust there; "": the system's authorities


def _basic(account: str, key: str) -> Mapping[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{account}:{key}".encode()).decode()}


# Shapes as the vendors gave them out in 2026; an unlike one is worth a word, never a refusal.
VENDORS: tuple[Vendor, ...] = (
    Vendor("Gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), re.compile(r"AIza[\w-]{35}|AQ\.[\w-]{20,}"),
           "aistudio.google.com/apikey", "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1",
           lambda key: {"x-goog-api-key": key}),
    Vendor("Deepgram", ("DEEPGRAM_API_KEY",), re.compile(_HEX % 40), "console.deepgram.com",
           "https://api.deepgram.com/v1/projects", lambda key: {"Authorization": f"Token {key}"}),
    Vendor("Groq", ("GROQ_API_KEY",), re.compile(r"gsk_\w{40,}"), "console.groq.com/keys",
           "https://api.groq.com/openai/v1/models"),
    Vendor("ElevenLabs", ("ELEVENLABS_API_KEY",), re.compile(rf"sk_{_HEX % 48}|{_HEX % 32}"), "elevenlabs.io/app",
           "https://api.elevenlabs.io/v1/user", lambda key: {"xi-api-key": key}),
    Vendor("OpenAI", ("OPENAI_API_KEY",), re.compile(r"sk-[\w-]{20,}"), "platform.openai.com/api-keys",
           "https://api.openai.com/v1/models"),
    Vendor("Twilio", ("TWILIO_AUTH_TOKEN",), re.compile(_HEX % 32), "console.twilio.com → Account Info",
           "https://api.twilio.com/2010-04-01/Accounts/{account}.json", account="TWILIO_ACCOUNT_SID"),
    Vendor("Smartflo", ("SMARTFLO_API_TOKEN",), re.compile(r"[\w-]+\.[\w-]+\.[\w-]+"),
           "Smartflo portal → API Connect → API Tokens", "https://api-smartflo.tatateleservices.com/v1/my_number"),
    Vendor("Smartflo click-to-call", ("SMARTFLO_C2C_API_KEY",), re.compile(r"[\w-]{8,}"),
           "Smartflo portal → API Connect → Click to Call Support API"),
)  # fmt: skip


def vendors_of(settings: Settings) -> tuple[Vendor, ...]:
    """The vendors at the addresses that the settings name for them."""
    gemini = settings.ai.gemini
    if not gemini.base_url:
        return VENDORS
    first, *others = VENDORS
    url = gemini.base_url.rstrip("/") + "/v1beta/models?pageSize=1"
    return (replace(first, url=url, ca_file=gemini.ca_file), *others)


async def keys(
    env: Mapping[str, str], *, online: bool, given: Mapping[str, str] | None = None, vendors: Sequence[Vendor] = VENDORS
) -> list[Finding]:
    """A line for each key that is set, one for all that are not. `given`: keys from the settings, by environment name.

    online: show each key to its vendor. Raises ConfigError for a NAME_FILE that cannot be read.
    """
    found, missing = [], []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S)) as session:
        for vendor in vendors:
            name, key = _key_of(vendor, env, given or {})
            if not key:
                missing.append(vendor.names[0])
            elif (wrong := looks_wrong(vendor, name, key, env)) is not None and (not online or wrong.status == "fail"):
                found.append(wrong)
            elif online and vendor.url:
                found.append(await asked(session, vendor, key, env))
            else:
                found.append(Finding("key", "ok", f"{vendor.name}: {name} is set; good or not, --online asks"))
    if missing:
        found.append(Finding("keys", "ok", "not set (needed only for what uses them): " + ", ".join(missing)))
    return found


def _key_of(vendor: Vendor, env: Mapping[str, str], given: Mapping[str, str]) -> tuple[str, str]:
    for name in vendor.names:
        if key := given.get(name) or lookup(env, name):
            return name, key
    return "", ""


def looks_wrong(vendor: Vendor, name: str, key: str, env: Mapping[str, str]) -> Finding | None:
    """A word about a key that does not look like one; the key itself is never shown."""
    if not key.isascii() or not key.isprintable() or any(mark in key for mark in "\"' "):
        text = f"{vendor.name}: {name} has quotes, blanks or other things in it that no key has"
        return Finding("key", "fail", text, "take them away")
    if not vendor.shape.fullmatch(key):
        text = f"{vendor.name}: {name} does not look like one ({len(key)} characters)"
        return Finding(
            "key", "warn", text, f"compare it with {vendor.where}, or ask the vendor: trunkline doctor --online"
        )
    if vendor.account and not lookup(env, vendor.account):
        text = f"{vendor.name}: {vendor.account} is not set"
        return Finding("key", "warn", text, f"calls can come in, but none be placed; see {vendor.where}")
    return None


async def asked(session: aiohttp.ClientSession, vendor: Vendor, key: str, env: Mapping[str, str]) -> Finding:
    """What the vendor says to the key."""
    account = lookup(env, vendor.account) or "" if vendor.account else ""
    if vendor.account and not account:
        return Finding(
            "key", "warn", f"{vendor.name}: cannot be asked without {vendor.account}", f"set {vendor.account}"
        )
    headers = _basic(account, key) if account else vendor.headers(key)
    url = vendor.url.replace("{account}", account)
    try:
        trust = ssl.create_default_context(cafile=vendor.ca_file) if vendor.ca_file else True
        async with session.get(url, headers=headers, ssl=trust) as response:
            return judged(vendor, response.status, (await response.content.read(2000)).decode("utf-8", "replace"))
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as lost:
        why = type(lost).__name__  # not its words: they may hold the key
        return Finding("key", "warn", f"{vendor.name}: the vendor could not be asked ({why})", "is there a way out?")


def judged(vendor: Vendor, status: int, body: str) -> Finding:
    """An answer of the vendor's as a finding."""
    if 200 <= status < 300:
        return Finding("key", "ok", f"{vendor.name}: the vendor takes it")
    if status in (401, 403) or (status == 400 and "api key" in body.lower().replace("_", " ")):
        then = f"make a new one at {vendor.where}; in case of 403, see what it may do and from where"
        return Finding("key", "fail", f"{vendor.name}: the vendor refuses it (HTTP {status})", then)
    if status == 429:
        return Finding("key", "warn", f"{vendor.name}: the vendor knows it, but it is over its quota (HTTP 429)",
                       f"see the quota at {vendor.where}")  # fmt: skip
    return Finding("key", "warn", f"{vendor.name}: the vendor answers HTTP {status}: cannot tell", "ask again later")
