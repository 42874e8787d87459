"""What to type where at the carriers, field by field, with this installation's own addresses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trunkline.api_auth import load_secrets
from trunkline.config import Settings
from trunkline.proxies import public_base, socket_base


@dataclass(frozen=True, slots=True)
class _Ours:
    base: str
    token: str
    secret: str

    @property
    def media(self) -> str:
        return f"{socket_base(self.base)}/media"


def paste(settings: Settings, *, show_secrets: bool = False) -> list[str]:
    """The lines, for every carrier that can be configured so far."""
    kept = load_secrets(
        Path(settings.server.data_dir),
        media_token=settings.auth.media_token,
        webhook_secret=settings.auth.webhook_secret,
    )
    base = public_base(settings.server.public_url) or "https://YOUR-HOST"
    ours = _Ours(base, kept.media_token if show_secrets else "TOKEN", kept.webhook_secret if show_secrets else "SECRET")
    lines = [*_smartflo(ours), "", *_twilio(ours, signed=bool(settings.carriers.twilio.auth_token))]
    if not show_secrets:
        lines.append("TOKEN and SECRET: trunkline doctor --show-secrets")
    return lines


def _smartflo(ours: _Ours) -> Iterator[str]:
    yield "What to paste at Smartflo (Settings → Channels → Voice Streaming → Voice Bot → Add endpoint):"
    yield "  type               Static, or Dynamic to hand parameters of your own to each call"
    yield f"  static endpoint    {ours.media}/smartflo/{ours.token}"
    yield f"  dynamic endpoint   {ours.base}/smartflo/endpoint?secret={ours.secret}"
    yield "                     GET or POST; body: callId=$callId, fromNumber=$fromNumber, toNumber=$toNumber"
    yield "Then My Numbers → your number → destination type Voice Bot → that endpoint."
    yield "Call events (API Connect → Webhook, switched on by Tata's support; one per trigger):"
    yield f"  webhook            {ours.base}/webhooks/smartflo"
    yield "  method, body       POST, JSON; the template is in docs/carriers/smartflo.md"
    yield f"  header             X-Webhook-Secret: {ours.secret}"


def _twilio(ours: _Ours, *, signed: bool) -> Iterator[str]:
    query = "" if signed else f"?secret={ours.secret}"
    yield "What to paste at Twilio (Console → Phone Numbers → Active numbers → your number → Voice Configuration):"
    yield "  Configure with          Webhook, TwiML Bin, Function, Studio Flow, Proxy Service"
    yield f"  A call comes in         Webhook   {ours.base}/answer/twilio{query}   HTTP POST"
    yield "  Primary handler fails   leave empty, or a TwiML Bin that says that nobody can answer"
    yield f"  Call status changes     {ours.base}/webhooks/twilio{query}   HTTP POST"
    if signed:
        yield "Twilio signs its requests with the account's auth token; they are checked with TWILIO_AUTH_TOKEN."
    else:
        yield "Better than a secret in the address: set TWILIO_AUTH_TOKEN, so that Twilio's signature is demanded."
    yield "The address must be typed exactly as public_url has it: the signature is made of it."


def paste_sip(settings: Settings) -> list[str]:
    """What to enter at a trunk, a PBX or a softphone, so that its calls come here."""
    sip = settings.sip
    if not sip.enabled or not sip.listen:
        return []
    lines = ["What to enter at a trunk, a PBX or a softphone:"]
    for spec in sip.listen:
        kind, _, place = spec.partition(":")
        host, _, port = place.rpartition(":")
        near = sip.public_address or {"0.0.0.0": "YOUR-ADDRESS", "[::]": "YOUR-ADDRESS"}.get(host, host)  # noqa: S104
        usual = "" if kind == "udp" else f";transport={kind}"
        lines.append(f"  call               sip:agent@{near}:{port}{usual}   (any number of yours in agent's place)")
    lines += [f"  user, password     {user.name}, as in [[sip.user]]" for user in sip.user]
    lines.append(f"  firewall           UDP {sip.rtp_ports} for the audio, besides the ports above")
    lines.append("Which agent answers: trunkline route-test NUMBER")
    return lines
