"""The doctor's look at SIP on this machine: the wheel, the ports, our address, certificate, who may call."""

import asyncio
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from typing import Final

from trunkline.bridge.sip.free_ports import refusal, settled
from trunkline.config import Settings, Sip
from trunkline.config_load import Configuration
from trunkline.doctor_finding import Finding
from trunkline.doctor_options import Answered, Transport, ask, outward
from trunkline.doctor_public import certificate_finding
from trunkline.errors import ConfigError
from trunkline.supervisor_gateway import why_not
from trunkline.tls import Certificate

PART: Final = "SIP"
NEXT_TRIES: Final = 20  # as the gateway's own
PER_CALL: Final = 4  # ports: two in use, two that others may hold, or that are just being given back
FEW_CHARACTERS: Final = 12  # of a password that scanners will try
_EPHEMERAL: Final = "/proc/sys/net/ipv4/ip_local_port_range"


async def here(configuration: Configuration) -> list[Finding]:
    """Everything that concerns this machine alone."""
    settings = configuration.settings
    if (why := why_not(settings)) and not settings.sip.enabled:
        return [Finding(PART, "ok", why)]
    findings = [_wheel(why)]
    moved = settled(settings.sip.listen, NEXT_TRIES)
    findings += [await _listening(spec, other) for spec, other in zip(settings.sip.listen, moved, strict=True)]
    findings += [_audio_ports(settings.sip), _address(settings.sip)]
    findings += await _certificate(settings.sip)
    return [*findings, *_who(settings)]


def _wheel(why: str) -> Finding:
    try:
        built = version("pjsua2")
    except PackageNotFoundError:
        built = ""
    if why or not built:
        return Finding("SIP wheel", "fail", why or "pjsua2 is not installed", "scripts/setup.sh builds it, in minutes")
    if "+trunkline" not in built:
        then = "scripts/setup.sh builds ours; another lacks the gate that drops strangers, and some repairs"
        return Finding("SIP wheel", "fail", f"pjsua2 {built} is not our build", then)
    return Finding("SIP wheel", "ok", f"pjsua2 {built}")


# -- where we listen


def split(spec: str) -> tuple[Transport, str, int]:
    """ "udp:127.0.0.1:5060" in its parts; it has been checked."""
    kind, _, place = spec.partition(":")
    host, _, port = place.rpartition(":")
    return ("tls" if kind == "tls" else "tcp" if kind == "tcp" else "udp"), host.strip("[]"), int(port)


async def _listening(spec: str, other: str) -> Finding:
    """other: where the gateway would go instead; as spec when it is free, or when there is nowhere to go."""
    kind, host, port = split(spec)
    part = f"SIP {kind}"
    wrong = refusal(kind, host, port)
    elsewhere = split(other)[2] if other != spec else 0
    if wrong is None:
        moved = f"; but {elsewhere}, since the other at that port is taken" if elsewhere else ""
        return Finding(part, "ok", f"{host}:{port} is free{moved}")
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        found = await ask(near, port, kind, f"sip:{near}:{port}", patience_s=2.0)
    except OSError:
        found = None
    return taken(part, f"{host}:{port}", wrong, found, elsewhere)


def taken(part: str, where: str, wrong: OSError, found: Answered | None, other: int) -> Finding:
    """What is to be said of a port that we do not get. other: the next free one, 0 without any."""
    if found is not None and found.server.startswith("Trunkline"):
        return Finding(part, "ok", f"{where}: a running Trunkline answers there")
    who = f"{found.server or 'a SIP server'} answers there" if found is not None else (wrong.strerror or str(wrong))
    if not other:
        return Finding(part, "fail", f"{where} cannot be had: {who}", "choose another address: [sip] listen")
    then = f"SIP will listen on port {other} instead, and say so; stop the other, or choose a port: [sip] listen"
    return Finding(part, "warn", f"{where} is taken: {who}", then)


def _audio_ports(sip: Sip) -> Finding:
    first, _, last = sip.rtp_ports.partition("-")
    count, wanted = int(last) - int(first) + 1, PER_CALL * sip.max_calls
    if count < wanted:
        return Finding(
            "SIP audio", "warn", f"ports {sip.rtp_ports} are {count}, [sip] max_calls = {sip.max_calls} wants {wanted}",
            f'[sip] rtp_ports = "{first}-{min(65_535, int(first) + wanted - 1)}", and the same in the firewall',
        )  # fmt: skip
    low, high = _ephemeral()
    if int(first) <= high and low <= int(last):
        return Finding(
            "SIP audio", "warn", f"ports {sip.rtp_ports} overlap those that the system gives away ({low}-{high})",
            '[sip] rtp_ports = "10000-19999", or another range below',
        )  # fmt: skip
    return Finding("SIP audio", "ok", f"UDP ports {sip.rtp_ports}, enough for {count // PER_CALL} calls")


def _ephemeral() -> tuple[int, int]:
    try:
        with open(_EPHEMERAL, encoding="ascii") as file:
            low, high = map(int, file.read().split())
    except (OSError, ValueError):
        return 32_768, 60_999
    return low, high


# -- how others see us


def _address(sip: Sip) -> Finding:
    return address_finding(sip, outward())


def address_finding(sip: Sip, way_out: str) -> Finding:
    """Whether the address that we tell is one that the far ends can reach. way_out: ours, on the way out."""
    hosts = {split(spec)[1] for spec in sip.listen}
    if all(_loopback(host) for host in hosts):
        then = '[sip] listen = ["udp:0.0.0.0:5060"] for others, with trunks, users or allow to say whom'
        return Finding("SIP address", "ok", "only programs on this machine can call", then)
    if sip.public_address:
        return Finding("SIP address", "ok", f"far ends are told {sip.public_address}")
    told = next((host for host in hosts if not _loopback(host) and not _everywhere(host)), way_out)
    if told and _private(told):
        then = "if the trunk is on the internet: [sip] public_address = our public one, and forward the ports"
        return Finding("SIP address", "warn", f"far ends are told {told}, a private address", then)
    return Finding("SIP address", "ok", f"far ends are told {told or 'the address of each way'}")


def _loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _everywhere(host: str) -> bool:
    return _is_address(host) and ip_address(host).is_unspecified


def _private(host: str) -> bool:
    return _is_address(host) and ip_address(host).is_private


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _certificate(sip: Sip) -> list[Finding]:
    if not any(spec.startswith("tls:") for spec in sip.listen):
        return []
    if not sip.tls_cert:
        return [Finding("SIP TLS", "fail", "listen = tls: without a certificate", "[sip] tls_cert, tls_key")]
    try:
        facts = (await asyncio.to_thread(Certificate, sip.tls_cert, sip.tls_key)).facts
    except ConfigError as bad:
        return [Finding("SIP TLS", "fail", str(bad), "PEM files: the certificate with its chain, and its key")]
    return [certificate_finding("SIP TLS", facts, "", datetime.now(UTC))]


def _who(settings: Settings) -> list[Finding]:
    """Who may call, and with what."""
    sip = settings.sip
    weak = [user.name for user in sip.user if len(user.password) < FEW_CHARACTERS]
    found = [
        Finding(
            "SIP callers", "warn", f"password of {', '.join(weak)}: shorter than {FEW_CHARACTERS} characters",
            "scanners guess all day; make one: openssl rand -base64 18",
        )
    ] if weak else []  # fmt: skip
    here_alone = all(_loopback(split(spec)[1]) for spec in sip.listen)
    if not here_alone and not (sip.user or sip.trunk or sip.allow):
        then = "[[sip.trunk]], [[sip.user]] or [sip] allow: everybody else is not even answered"
        found.append(Finding("SIP callers", "warn", "others can reach us, and nobody is allowed to call", then))
    return found
