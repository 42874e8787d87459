"""Who calls, as a trunk wants to be told: From and the headers beside it. Pure. RFC 3261, 3323, 3325; Remote-Party-ID
is the draft that older switches know.
"""

from dataclasses import dataclass
from typing import Final

from trunkline.bridge.sip.options import Trunk

ANONYMOUS: Final = '"Anonymous" <sip:anonymous@anonymous.invalid>'  # RFC 3323 section 4.1
WITHHELD: Final = frozenset({"anonymous", "withheld", "restricted"})  # a caller who is to be shown as nobody
_ASSERTED: Final = {"pai": "P-Asserted-Identity", "ppi": "P-Preferred-Identity", "rpid": "Remote-Party-ID"}


@dataclass(frozen=True, slots=True)
class Shown:
    """`local_uri`: From's, "" for the account's own; `headers`: beside it."""

    local_uri: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def shown(trunk: Trunk | None, caller: str, display: str, host: str) -> Shown:
    """caller: the number asked for, "" for the trunk's, "anonymous" to withhold it; host: of the addresses."""
    hidden = caller.lower() in WITHHELD or (trunk is not None and trunk.privacy)
    own = (trunk.caller or trunk.user) if trunk else ""
    number = _user(own if caller.lower() in WITHHELD else caller or own)
    if hidden:
        return Shown(ANONYMOUS, _hidden(trunk, number, host))
    if not (caller or display or (trunk and trunk.caller)):
        return Shown()
    name = _quoted(display)
    if trunk is None or trunk.identity == "from":
        return Shown(f"{name}<sip:{number}@{host}>")
    # Such a carrier looks for its customer in From and for the caller in the other header.
    value = f"{name}<sip:{number}@{host}>"
    if trunk.identity == "rpid":
        value += ";party=calling;screen=no;privacy=off"
    return Shown("", ((_ASSERTED[trunk.identity], value),))


def _hidden(trunk: Trunk | None, number: str, host: str) -> tuple[tuple[str, str], ...]:
    """The carrier still has to know whose call it is; it takes the number out before it goes on."""
    if trunk is None or not number:
        return (("Privacy", "id"),)
    if trunk.identity == "rpid":
        value = f"<sip:{number}@{host}>;party=calling;screen=no;privacy=full"
        return (("Remote-Party-ID", value), ("Privacy", "id"))
    name = "P-Preferred-Identity" if trunk.identity == "ppi" else "P-Asserted-Identity"
    return ((name, f"<sip:{number}@{host}>"), ("Privacy", "id"))


def _user(number: str) -> str:
    """What would end the user's part of an address cannot be in it."""
    return "".join(c for c in number if c.isascii() and (c.isalnum() or c in "+-_.!~*%"))


def _quoted(display: str) -> str:
    plain = "".join(c for c in display if c >= " " and c not in '"\\\x7f')
    return f'"{plain}" ' if plain else ""
