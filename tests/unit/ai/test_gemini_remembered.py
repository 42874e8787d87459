"""A set-up that is put together from what the SDK said before is the set-up that it would have said."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types

from trunkline.ai.gemini import remembered
from trunkline.ai.gemini.link import make_client
from trunkline.ai.gemini.remembered import SetUps
from trunkline.ai.gemini.setup import make_config
from trunkline.ai.session import Brief
from trunkline.ai.tools import Tool, ToolRequest
from trunkline.config import Gemini

KNOBS = Gemini(
    temperature=0.3, max_output_tokens=200, language="hi-IN", start_sensitivity="low", prefix_padding_ms=40,
    model="gemini-3.8-live-extended-thinking", thinking="high",
)  # fmt: skip


async def _done(request: ToolRequest) -> str:
    return ""


def tool(name: str) -> Tool:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"what": {"type": "string", "enum": ["a", "b"]}},
        "required": ["what"],
    }
    return Tool(name=name, description=f"Does {name}", parameters=schema, func=_done)


TOOLS = (tool("order"), tool("look"))


class Said(Exception):  # noqa: N818
    """The set-up that the SDK wants to send; it gets no further."""

    def __init__(self, message: str) -> None:
        self.message = message


class Wire:
    """Stands in for the connection."""

    async def __aenter__(self) -> "Wire":
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def send(self, message: str) -> None:
        raise Said(message)


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Callable[[types.LiveConnectConfig], bytes]:
    """What google-genai makes of a configuration."""
    monkeypatch.setattr("google.genai.live.ws_connect", lambda *args, **more: Wire())
    client: genai.Client = make_client("k", base_url="", api_version="v1beta", ca_file="", open_s=1.0)

    async def connect(config: types.LiveConnectConfig) -> bytes:
        try:
            async with client.aio.live.connect(model="m", config=config):
                raise AssertionError("no set-up was said")
        except Said as said:
            return said.message.encode()

    return lambda config: asyncio.run(connect(config))


def sent(set_ups: SetUps, sdk: Callable[[types.LiveConnectConfig], bytes], brief: Brief, **more: Any) -> Any:
    config, rewrite = set_ups.config(brief, more.get("handle", ""), history=more.get("history", False))
    return msgspec.json.decode(rewrite(sdk(config)))


CALLS: tuple[tuple[Brief, dict[str, Any]], ...] = (
    (Brief("c1", "a", "Be kind", language="hi", tools=TOOLS), {}),
    (Brief("c9", "a", 'Be "brief"', language="hi", tools=TOOLS, caller="+9199", context={"order": 8}), {}),
    (Brief("c2", "a", "Be kind", language="hi", tools=TOOLS, caller="+9198"), {"handle": "h1"}),
    (Brief("c3", "a", "Be quick", language="hi", tools=TOOLS, context={"order": 7}), {"history": True}),
    (Brief("c4", "a", "Be kind", language="hi", tools=TOOLS), {"handle": "h2", "history": True}),
    (Brief("c6", "a", "Be kind", language="hi", voice="Zephyr", tools=TOOLS), {}),
    (Brief("c5", "a", "Be kind", language="hi", tools=TOOLS[:1]), {}),
    (Brief("c7", "b", "Be kind", language="hi"), {}),
    (Brief("c8", "a", "Be kind", language="hi", tools=(tool("order"), tool("look"))), {}),
)


def test_every_set_up_is_what_the_sdk_would_have_said(sdk: Callable[[types.LiveConnectConfig], bytes]) -> None:
    set_ups = SetUps(KNOBS)
    for brief, more in (*CALLS, *reversed(CALLS), *CALLS):
        wanted = make_config(KNOBS, brief, str(more.get("handle", "")), history=bool(more.get("history")))
        assert sent(set_ups, sdk, brief, **more) == msgspec.json.decode(sdk(wanted)), brief.call_id


def test_a_known_agents_tools_are_not_converted_again(sdk: Callable[[types.LiveConnectConfig], bytes]) -> None:
    set_ups = SetUps(KNOBS)
    first, _ = set_ups.config(CALLS[0][0], "", history=False)
    assert first.tools
    sent(set_ups, sdk, CALLS[0][0])
    again, _ = set_ups.config(CALLS[1][0], "handle", history=False)
    assert not again.tools
    assert again.speech_config is None


def test_a_known_agents_new_session_leaves_the_sdk_nothing_to_convert(
    sdk: Callable[[types.LiveConnectConfig], bytes],
) -> None:
    set_ups = SetUps(KNOBS)
    sent(set_ups, sdk, CALLS[0][0], handle="of a session that went on")
    assert set_ups.config(CALLS[1][0], "", history=False)[0].system_instruction, "what was learned was no new session's"
    sent(set_ups, sdk, CALLS[1][0])
    assert set_ups.config(CALLS[0][0], "", history=False)[0] == types.LiveConnectConfig()


def test_what_is_remembered_is_bounded(
    sdk: Callable[[types.LiveConnectConfig], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "MOST", 3)
    set_ups = SetUps(KNOBS)
    for number in range(5):
        sent(set_ups, sdk, Brief("c", f"agent{number}"))
    assert len(set_ups._known) == 3
