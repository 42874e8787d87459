"""What a model may do besides talk. `TOOLS` and `Tool(name, description, parameters, func)` keep S1's names."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None


class CallControl(Protocol):
    """All that a tool may touch of its call."""

    @property
    def call_id(self) -> str:
        """The call's id."""
        ...

    @property
    def caller(self) -> str:
        """The person's number."""
        ...

    @property
    def tenant(self) -> str:
        """The tenant whose call it is."""
        ...

    async def end(self) -> None:
        """Hang up once what is being said has been heard."""
        ...

    async def transfer(self, target: str, brief: str | None = None) -> None:
        """Hand the caller to `target` (E.164 or SIP URI); refused with ToolError unless policy allows it. `brief`: the
        person there hears it first, and may decline, while the caller stays here."""
        ...

    async def send_digits(self, keys: str) -> None:
        """Play keys to the far end."""
        ...


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """One request, with what makes a retry recognisable: same call, turn and id or same call, turn and arguments."""

    call: CallControl
    turn: int  # caller turn
    id: str  # the model's own id of the request
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function for the model. `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Json]
    func: Callable[[ToolRequest], Awaitable[Json]]
    timeout: float = 10.0  # s
    effect: Literal["read", "write"] = "read"  # a write is never cancelled by a barge-in or at the end of the call
    filler: str = ""  # said while a slow tool runs
    redact: frozenset[str] = field(default_factory=frozenset)  # argument names kept out of logs


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of it. `error` is written for the model to read out or act on."""

    id: str
    name: str
    value: Json = None
    error: str = ""


TOOLS: dict[str, Tool] = {}
"""Tools that an application adds by name; they join the built-in ones of `trunkline.ai.toolbox`, and replace them
where the names are equal."""


def tool(
    description: str,
    parameters: Mapping[str, Json],
    *,
    name: str = "",
    timeout: float = 10.0,
    effect: Literal["read", "write"] = "read",
    filler: str = "",
    registry: dict[str, Tool] = TOOLS,
) -> Callable[[Callable[[ToolRequest], Awaitable[Json]]], Tool]:
    """Decorator that turns `async def lookup_reservation(request)` into a Tool and enters it into `TOOLS`.

    `name` defaults to the function's. The same by dict: `TOOLS["x"] = Tool("x", "what it does", schema, func)`.
    """

    def enter(func: Callable[[ToolRequest], Awaitable[Json]]) -> Tool:
        made = Tool(name or func.__name__, description, parameters, func, timeout, effect, filler)
        registry[made.name] = made
        return made

    return enter
