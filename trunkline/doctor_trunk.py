"""The doctor's look at each SIP trunk: its name, its servers, an answer, its certificate, codecs, the registration."""

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import aiohttp

from trunkline.bridge.sip.locating import locator
from trunkline.bridge.sip.options import Options, Trunk, options_of
from trunkline.bridge.sip.sip_text import host_port
from trunkline.bridge.sip.targets import Target
from trunkline.config import Settings, Sip
from trunkline.config_load import Configuration
from trunkline.doctor_finding import Finding
from trunkline.doctor_options import Answered, ask
from trunkline.doctor_public import certificate_finding, shown_to_a_stranger

MOST_ASKED: Final = 4  # servers of one trunk
STATE_S: Final = 2.0
TIRED: Final = (408, 500, 502, 503, 504)
_LOST = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


async def trunks(configuration: Configuration) -> list[Finding]:
    """All that are configured."""
    settings = configuration.settings
    if not settings.sip.enabled or not settings.sip.trunk:
        return []
    states = await running_states(settings)
    options = options_of(settings.sip, "", "")
    looked = await asyncio.gather(*(_trunk(trunk, options, settings.sip, states) for trunk in options.trunks))
    return [finding for findings in looked for finding in findings]


async def running_states(settings: Settings) -> Mapping[str, str] | None:
    """What a running service says of its trunks (`GET /sip`); None where none is running, or it wants a key."""
    server = settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104
    url = f"{'https' if server.tls_cert else 'http'}://{host}:{server.port}/sip"
    key = os.environ.get("TRUNKLINE_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=STATE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=False)) as session,
            session.get(url, headers=headers) as response,
        ):
            told = await response.json(content_type=None)
            return {str(name): str(state) for name, state in told["trunks"].items()} if response.status == 200 else None
    except (*_LOST, KeyError, TypeError, AttributeError):
        return None


async def _trunk(trunk: Trunk, options: Options, sip: Sip, states: Mapping[str, str] | None) -> list[Finding]:
    part = f"trunk {trunk.name}"
    targets = await locator(options).targets(trunk)
    findings = [located(part, trunk, targets)]
    if not targets:
        return findings
    for target in targets[:MOST_ASKED]:
        findings += await _asked(part, trunk, target, sip)
    if trunk.register or states is not None:
        findings.append(registration(part, trunk, states))
    return findings


def located(part: str, trunk: Trunk, targets: Sequence[Target]) -> Finding:
    """Its servers."""
    host, _ = host_port(trunk.proxy or trunk.host)
    if not targets:
        then = "is the name right, and does this machine have a name server? [sip] nameservers names others"
        return Finding(part, "fail", f"{host}: no server can be found, neither by SRV nor by its name", then)
    shown = ", ".join(map(str, targets[:MOST_ASKED])) + (", …" if len(targets) > MOST_ASKED else "")
    return Finding(part, "ok", f"{host} is at {shown} ({trunk.transport})")


async def _asked(part: str, trunk: Trunk, target: Target, sip: Sip) -> list[Finding]:
    host, _ = host_port(trunk.host)
    findings: list[Finding] = []
    uri = f"sip:{trunk.host}" if ":" in trunk.host else f"sip:{host}"
    try:
        if trunk.transport == "tls":
            findings.append(await _certified(part, trunk, target))
        found = await ask(target.address, target.port, trunk.transport, uri, name=host)
    except OSError as wrong:
        return [*findings, unreachable(part, target, trunk, wrong)]
    return [*findings, *answered(part, target, trunk, found, sip)]


def unreachable(part: str, target: Target, trunk: Trunk, wrong: OSError) -> Finding:
    """The system says that there is nobody, or another protocol."""
    if isinstance(wrong, ConnectionRefusedError):
        then = f'nothing listens there: is the port right, and transport = "{trunk.transport}"?'
    elif isinstance(wrong, ssl.SSLError):
        then = 'no TLS is spoken there: its TLS port is usually 5061; or transport = "tcp"'
    else:
        then = "is there a way out, and does a firewall let it through?"
    system = os.strerror(wrong.errno) if wrong.errno and not isinstance(wrong, ssl.SSLError) else wrong.strerror
    return Finding(part, "fail", f"{target}: {system or wrong}", then)


def answered(part: str, target: Target, trunk: Trunk, found: Answered | None, sip: Sip) -> list[Finding]:
    """What OPTIONS brought."""
    if found is None:
        then = (
            f"is our address known to it ({_whom(trunk)}), and does a firewall let {trunk.transport.upper()} through?"
        )
        return [Finding(part, "fail", f"{target} does not answer OPTIONS", then)]
    words = f"{target} answers OPTIONS with {found.code} {found.reason} after {found.took_ms:.0f} ms"
    words += f" ({found.server})" if found.server else ""
    if found.code in TIRED:
        findings = [Finding(part, "warn", words, "it lives, but takes no calls just now")]
    else:  # 401, 403, 404, 405 too: many answer nobody whom they do not know, and it lives
        findings = [Finding(part, "ok", words)]
    return [*findings, *codec_findings(part, trunk, found.codecs, sip), *seen(part, found, sip)]


def _whom(trunk: Trunk) -> str:
    return "registered" if trunk.register else "in its list of addresses"


def codec_findings(part: str, trunk: Trunk, theirs: Sequence[str], sip: Sip) -> list[Finding]:
    """Whether both have one in common, where the trunk told its own."""
    if not theirs:
        return []
    ours = [name.upper() for name in trunk.codecs or sip.codecs]
    common = [name for name in theirs if name.partition("/")[0].upper() in ours]
    if not common:
        then = f"[sip] codecs = {list(ours)}: add one of them; calls will end with 488"
        return [Finding(part, "fail", f"no codec in common: it takes {', '.join(theirs)}", then)]
    return [Finding(part, "ok", f"codecs in common: {', '.join(common)}")]


def seen(part: str, found: Answered, sip: Sip) -> list[Finding]:
    """Our address as it saw it."""
    if not found.seen_as or sip.public_address in ("", found.seen_as):
        return []
    then = f'[sip] public_address = "{found.seen_as}", if that is the address of this machine'
    return [Finding(part, "warn", f"it sees us at {found.seen_as}, and we tell {sip.public_address}", then)]


async def _certified(part: str, trunk: Trunk, target: Target) -> Finding:
    host, _ = host_port(trunk.host)
    facts, why = await asyncio.to_thread(shown_to_a_stranger, host, target.port, target.address)
    return certificate_finding(part, facts, host, datetime.now(UTC), why)


def registration(part: str, trunk: Trunk, states: Mapping[str, str] | None) -> Finding:
    """What the running gateway knows of it."""
    if states is None:
        then = "trunkline serve; where the API wants a key, TRUNKLINE_KEY"
        return Finding(part, "warn", "whether it is registered is known to a running service alone", then)
    state = states.get(trunk.name)
    match state:
        case None:
            return Finding(
                part, "warn", "the running service does not know it", "[sip] is read at the start: restart it"
            )
        case "up":
            return Finding(part, "ok", "registered" if trunk.register else "up, says the running service")
        case "rejected":
            then = "user, auth_user and password are what the registrar was given? it is tried again, seldom"
            return Finding(part, "fail", "the registrar rejects us", then)
        case "down":
            return Finding(part, "fail", "down, says the running service", "no answer, or 503: see the lines above")
        case _:
            return Finding(part, "warn" if trunk.register else "ok", f"{state}, says the running service")
