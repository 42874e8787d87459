"""Where a call's tools run: each request once, each with a result, reading ones cancelled at the end."""

import asyncio
from collections.abc import Callable, Sequence

from trunkline.ai.session import ToolCall
from trunkline.ai.toolbox import run_tool
from trunkline.ai.tools import Tool, ToolResult
from trunkline.calls.control import Control, Request, Say
from trunkline.calls.events import ToolUsed
from trunkline.calls.journal import Journal
from trunkline.clock import Clock

FILLER_AFTER_S = 0.8  # a tool that takes longer is bridged by its filler
MOST_TOOLS = 8  # running at once in one call


class Toolbench:
    """One call's tools. `done(session, result)` is called when a tool that `session` asked for is ready."""

    def __init__(
        self,
        tools: Sequence[Tool],
        control: Control,
        journal: Journal,
        clock: Clock,
        done: Callable[[int, ToolResult], None],
        ask: Callable[[Request], None],
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._control = control
        self._journal = journal
        self._clock = clock
        self._done = done
        self._ask = ask
        self._running: dict[str, asyncio.Task[None]] = {}  # by session and id of the request
        self._results: dict[str, ToolResult] = {}

    def busy(self) -> bool:
        """True while a tool runs."""
        return bool(self._running)

    def want(self, group: asyncio.TaskGroup, call: ToolCall, session: int) -> ToolResult | None:
        """Run it in the group. A result at once when there is one: the same request again is the same run."""
        key = f"{session}/{call.id}"
        if key in self._results:
            return self._results[key]
        if key in self._running:
            return None
        if len(self._running) >= MOST_TOOLS:
            return ToolResult(call.id, call.name, error="Too many tools are running; wait for their results.")
        tool = self._tools.get(call.name)
        effect = tool.effect if tool else "read"
        self._running[key] = group.create_task(
            self._run(group, key, call, tool, session), name=f"{effect}-tool-{call.name}"
        )
        return None

    def stop(self) -> None:
        """The call is over: reading is pointless now, writing keeps the time it was promised."""
        for task in self._running.values():
            if task.get_name().startswith("read"):
                task.cancel()

    async def _run(self, group: asyncio.TaskGroup, key: str, call: ToolCall, tool: Tool | None, session: int) -> None:
        began = self._clock.monotonic()
        filler = group.create_task(self._fill(tool.filler), name="filler") if tool and tool.filler else None
        try:
            result = await run_tool(self._tools, call, self._control)
        finally:
            del self._running[key]
            if filler:
                filler.cancel()
        self._results[key] = result
        took_ms = (self._clock.monotonic() - began) * 1000
        summary = result.error or _summary(call, tool)
        self._journal.emit(
            ToolUsed(self._journal.now(), call.turn, call.name, took_ms, not result.error, summary[:200])
        )
        self._done(session, result)

    async def _fill(self, text: str) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + FILLER_AFTER_S)
        self._ask(Say(text))


def _summary(call: ToolCall, tool: Tool | None) -> str:
    """One line of what was asked, without what the tool keeps to itself."""
    redact = tool.redact if tool else frozenset(call.arguments)
    told = (f"{name}={'…' if name in redact else value}" for name, value in call.arguments.items())
    return f"{call.name}({', '.join(told)})"
