"""`trunkline route-test`: which agent would answer this INVITE, and why; whether it would be heard at all."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, TypeAlias

from rich.console import Console
from rich.markup import escape

from trunkline.bridge import audiosocket
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.sip.admission import Admission
from trunkline.bridge.sip.gate import networks, within
from trunkline.bridge.sip.gateway_names import addresses
from trunkline.bridge.sip.messages import Offer
from trunkline.bridge.sip.options import Options, options_of
from trunkline.bridge.sip.profile import CARRIER, called, inbound
from trunkline.bridge.sip.sip_text import host_port
from trunkline.calls import routing
from trunkline.config import Route, Settings
from trunkline.errors import ConfigError

Heard: TypeAlias = Literal["trunk", "allowed", "asked", "dropped"]
MARKS = {"taken": "[green]✓[/]", "passed": "[dim]-[/]", "never": "[yellow]![/]"}


@dataclass(frozen=True, slots=True)
class Invite:
    """What is known of the INVITE that is asked about."""

    uri: str  # of the request: "sip:+918069000000@HOST", or the number alone
    to: str = ""  # of To, where it is another
    from_: str = ""
    trunk: str = ""
    source: str = ""  # address that it comes from
    headers: Mapping[str, str] | None = None
    carrier: str = CARRIER


@dataclass(frozen=True, slots=True)
class Passed:
    """A route and what became of it."""

    route: Route
    how: Literal["taken", "passed", "never"]
    why: str


@dataclass(frozen=True, slots=True)
class Told:
    """The whole answer."""

    number: str
    agent: str
    routes: tuple[Passed, ...]
    numbers: tuple[str, ...]
    context: Mapping[str, str]


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """Of "NAME=VALUE" each. Raises ConfigError."""
    for item in given:
        if not item.partition("=")[0].strip() or "=" not in item:
            raise ConfigError(f"--header {item}: must be X-NAME=VALUE")
    return dict(item.partition("=")[::2] for item in given)


def route_test(invite: Invite, settings: Settings) -> Told:
    """Pure: the decision as the service takes it."""
    offer = _offer(invite, _kept(invite, settings))
    numbers = called(offer) if invite.carrier == CARRIER else (invite.uri,)
    number, found = routing.choose(numbers, invite.carrier, settings.route, settings.default_agent)
    routes = tuple(_passed(settings.route, number, invite.carrier))
    context = inbound(offer, number, settings.sip.clock_rate).parameters if invite.carrier == CARRIER else {}
    return Told(number, found.agent, routes, numbers, context)


def _kept(invite: Invite, settings: Settings) -> dict[str, str]:
    """The headers that reach the agent, as the gateway chooses them."""
    also = {name.lower() for one in settings.sip.trunk if one.name == invite.trunk for name in one.keep_headers}
    return {
        name: value
        for name, value in (invite.headers or {}).items()
        if name.lower().startswith("x-") or name.lower() in also
    }


def _offer(invite: Invite, headers: Mapping[str, str]) -> Offer:
    uri = invite.uri if invite.uri.lower().startswith(("sip:", "sips:", "tel:")) else f"sip:{invite.uri}@here"
    return Offer(
        1, uri, invite.to, invite.from_, "", invite.source, "route-test", invite.trunk, headers=headers
    )  # fmt: skip


def _passed(routes: Sequence[Route], number: str, carrier: str) -> list[Passed]:
    found: list[Passed] = []
    taken = False
    for route in routes:
        why = routing.why_not(route, number, carrier)
        if why:
            found.append(Passed(route, "passed", why))
        elif taken:
            found.append(Passed(route, "never", "it fits, too, but an earlier one was taken"))
        else:
            taken = True
            found.append(Passed(route, "taken", "it fits, and it is the first"))
    return found


def heard(source: str, options: Options, resolved: Mapping[str, Sequence[str]]) -> tuple[Heard, str]:
    """What becomes of a packet from this address, and the trunk it belongs to. resolved: addresses by trunk."""
    admission = Admission(options)
    admission.resolve(resolved)
    if trunk := admission.trunk_of(source):
        return "trunk", trunk
    if not within(admission.table().heard, source):
        return "dropped", ""
    return ("asked" if options.users and not _allowed(source, options) else "allowed"), ""


def _allowed(source: str, options: Options) -> bool:
    return within(networks(options.allow), source)


def show(invite: Invite, settings: Settings, console: Console) -> int:
    """Print it; 1 when the INVITE would not reach an agent. Raises ConfigError for a question that makes no sense."""
    _check(invite, settings)
    reached, invite = _source(invite, settings, console)
    told = route_test(invite, settings)
    if len(told.numbers) > 1:
        console.print(f"  numbers   {escape(', '.join(told.numbers))}: the first that a route takes", soft_wrap=True)
    for one in told.routes:
        line = f'to = "{one.route.to}", carrier = "{one.route.carrier}" → {one.route.agent}: {one.why}'
        console.print(f"{MARKS[one.how]} route     {escape(line)}", soft_wrap=True, highlight=False)
    if not any(one.how == "taken" for one in told.routes):
        console.print("  route     none takes it: the default agent", highlight=False)
    for name in sorted((invite.headers or {}).keys() - _kept(invite, settings).keys()):
        line = f"{name} is left out: neither X-… nor in keep_headers of its trunk"
        console.print(f"{MARKS['never']} context   {escape(line)}", soft_wrap=True, highlight=False)
    for name, value in told.context.items():
        console.print(f"  context   {escape(f'{name} = {value}')}", soft_wrap=True, highlight=False)
    agent = settings.agents[told.agent]
    profile = agent.profile or settings.ai.profile
    number = told.number or "a call without a number"
    console.print(f"{escape(number)} on {invite.carrier} → [bold]{escape(told.agent)}[/] ({profile})", highlight=False)
    return 0 if reached else 1


def _check(invite: Invite, settings: Settings) -> None:
    names = [trunk.name for trunk in settings.sip.trunk]
    known = sorted({CARRIER, *CARRIERS, audiosocket.NAME})
    if invite.carrier not in known:
        raise ConfigError(f"--carrier {invite.carrier}: there are: {', '.join(known)}")
    if not invite.uri.strip():
        raise ConfigError("number: must be a number, a name or a whole address, sip:NUMBER@HOST")
    if invite.trunk and invite.trunk not in names:
        raise ConfigError(f"--trunk {invite.trunk}: there are: {', '.join(names) or 'none'}")
    if invite.source:
        try:
            ip_address(invite.source)
        except ValueError:
            raise ConfigError(f"--source {invite.source}: must be an address") from None


def _source(invite: Invite, settings: Settings, console: Console) -> tuple[bool, Invite]:
    """Whether it is heard, and the INVITE with the trunk that its source belongs to."""
    if not invite.source or invite.carrier != CARRIER:
        return True, invite
    options = options_of(settings.sip, "", "")
    names = {
        trunk.name: [host_port(place)[0] for place in (trunk.host, trunk.proxy) if place] for trunk in options.trunks
    }
    how, trunk = heard(invite.source, options, asyncio.run(addresses(names)))
    words = {
        "trunk": f"is trunk {trunk}",
        "allowed": "may call without credentials ([sip] allow, or this machine)",
        "asked": "is asked for the credentials of a [[sip.user]], 401",
        "dropped": "is nobody's: not answered at all; [[sip.trunk]] allow, [sip] allow, or [[sip.user]]",
    }
    mark = MARKS["never" if how == "dropped" else "taken"]
    console.print(f"{mark} source    {invite.source} {escape(words[how])}", soft_wrap=True, highlight=False)
    if invite.trunk and how != "dropped" and trunk != invite.trunk:
        console.print(f"{MARKS['never']} trunk     not {invite.trunk}, whatever was said", highlight=False)
    return how != "dropped", Invite(
        invite.uri, invite.to, invite.from_, trunk, invite.source, invite.headers, invite.carrier
    )
