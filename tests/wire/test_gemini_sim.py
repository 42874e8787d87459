"""The simulated Gemini Live against the real google-genai SDK, over TLS on loopback: it must be taken for Google's."""

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest
from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus

from tests.unit.sim.gemini_rig import babble, silence, upsampled
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Fault, Rule, Scenario, ToolUse
from trunkline_sim.gemini_voice import listen

pytestmark = pytest.mark.wire

MODEL = "gemini-3.8-live"
HOURS, PIZZA = "what are your opening hours", "i would like a pizza"
CLIPS = {HOURS: babble(1, 0.8), PIZZA: babble(2, 0.8)}
QUICK = Scenario(setup_delay_s=0.0, first_audio_s=0.05, char_s=0.02, handle_after_s=0.05)
CONFIG: Mapping[str, Any] = {"response_modalities": ["AUDIO"]}


@pytest.fixture
async def gemini() -> AsyncIterator[GeminiSim]:
    async with GeminiSim(CLIPS, QUICK) as running:
        yield running


def _client(gemini: GeminiSim, path: str = "", key: str = "k", **options: Any) -> genai.Client:
    context = gemini.client_context()
    socket: dict[str, Any] = {
        "ssl": context, "verify": context, "compression": None, "ping_interval": None,
        "open_timeout": 5, "close_timeout": 1, "max_size": 8 << 20, "proxy": None,
    }  # fmt: skip
    http: Any = {
        "base_url": gemini.url + path,
        "api_version": "v1beta",
        "client_args": {"verify": context},
        "async_client_args": socket,
        **options,
    }
    return genai.Client(api_key=key, http_options=http)


@asynccontextmanager
async def _live(
    gemini: GeminiSim, path: str = "", config: Mapping[str, Any] = CONFIG, **client: Any
) -> AsyncIterator[AsyncSession]:
    async with (
        asyncio.timeout(20),
        _client(gemini, path, **client).aio.live.connect(model=MODEL, config=dict(config)) as session,  # type: ignore[arg-type]
    ):
        yield session


async def _speak(session: AsyncSession, pcm: bytes) -> None:
    for at in range(0, len(pcm), 3200):
        blob = types.Blob(data=pcm[at : at + 3200], mime_type="audio/pcm;rate=16000")
        await session.send_realtime_input(audio=blob)


def _sentence(text: str) -> bytes:
    return silence(0.1) + upsampled(CLIPS[text]) + silence(0.7)


async def _turn(session: AsyncSession) -> tuple[bytes, list[types.LiveServerMessage]]:
    """Messages until the turn's end, and their audio."""
    audio, messages = b"", []
    async for message in session.receive():
        messages.append(message)
        content = message.server_content
        if content and content.model_turn:
            audio += b"".join(
                part.inline_data.data or b"" for part in content.model_turn.parts or [] if part.inline_data
            )
    return audio, messages


def _blobs(turn: types.Content) -> list[types.Blob]:
    return [part.inline_data for part in turn.parts or [] if part.inline_data]


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("path", ["", "/", "/any", "/any/"])
async def test_it_connects_by_every_path(gemini: GeminiSim, version: str, path: str) -> None:
    async with _live(gemini, path, api_version=version):
        pass
    assert gemini.sessions[0].scenario == ("any" if "any" in path else "default")
    assert gemini.sessions[0].kinds()[:2] == ["setup", "setupComplete"]


async def test_it_connects_by_environment_alone(gemini: GeminiSim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(gemini.ca_file))
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini.url)
    async with asyncio.timeout(10), genai.Client(api_key="k").aio.live.connect(model=MODEL, config=dict(CONFIG)):  # type: ignore[arg-type]
        pass
    assert gemini.sessions[0].key == "k"


async def test_the_key_may_stand_in_the_address(gemini: GeminiSim) -> None:
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{gemini.url}{path}?key=k2", ssl=gemini.client_context()) as ws:
            await ws.send_json({"setup": {"model": f"models/{MODEL}"}})
            message = await ws.receive(5)
            assert (message.type, json.loads(message.data)) == (aiohttp.WSMsgType.BINARY, {"setupComplete": {}})
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{gemini.url}{path}", ssl=gemini.client_context())
    assert refused.value.status == 401
    assert gemini.sessions[0].key == "k2"


def test_nobody_else_trusts_its_certificate(tmp_path: Any) -> None:
    from trunkline_sim.certs import make_certificates

    made = make_certificates(tmp_path)
    assert made.key_file.stat().st_mode & 0o077 == 0
    context = made.client_context()
    if hasattr(ssl, "VERIFY_X509_STRICT"):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    for trusting, works in ((context, True), (ssl.create_default_context(), False)):
        with contextlib.nullcontext() if works else pytest.raises(ssl.SSLCertVerificationError):
            _handshake(trusting, made.server_context())


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """In memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="127.0.0.1"), server.wrap_bio(up, down, server_side=True)]
    done = 0
    for _ in range(10):
        for end in list(ends):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)
                done += 1
    assert done == 2


SCHEMA = {"type": "object", "properties": {"a_b": {"type": "string"}}}
FULL: Mapping[str, Any] = {
    "response_modalities": ["AUDIO"],
    "temperature": 0.4,
    "top_p": 0.9,
    "top_k": 20,
    "max_output_tokens": 400,
    "seed": 7,
    "media_resolution": "MEDIA_RESOLUTION_LOW",
    "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}, "language_code": "en-US"},
    "system_instruction": "You are a receptionist.",
    "tools": [
        {"google_search": {}},
        {"function_declarations": [
            {"name": "look_up", "behavior": "BLOCKING", "parameters_json_schema": SCHEMA},
            {"name": "note", "behavior": "NON_BLOCKING"},
        ]},
    ],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
    "realtime_input_config": {
        "automatic_activity_detection": {
            "start_of_speech_sensitivity": "START_SENSITIVITY_HIGH", "end_of_speech_sensitivity": "END_SENSITIVITY_LOW",
            "prefix_padding_ms": 40, "silence_duration_ms": 300,
        },
        "activity_handling": "START_OF_ACTIVITY_INTERRUPTS",
        "turn_coverage": "TURN_INCLUDES_ONLY_ACTIVITY",
    },
    "session_resumption": {},
    "context_window_compression": {"trigger_tokens": 100000, "sliding_window": {"target_tokens": 50000}},
    "proactivity": {"proactive_audio": True},
    "history_config": {"initial_history_in_client_content": True},
}  # fmt: skip


async def test_every_setting_arrives_and_is_understood(gemini: GeminiSim) -> None:
    async with _live(gemini, config=FULL):
        pass
    body = gemini.sessions[0].setup
    assert body["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Kore"
    assert body["realtimeInputConfig"]["automaticActivityDetection"]["silenceDurationMs"] == 300
    declared = next(tool["functionDeclarations"] for tool in body["tools"] if "functionDeclarations" in tool)
    assert declared[0]["parametersJsonSchema"]["properties"] == {"a_b": {"type": "string"}}  # free: spelling kept
    assert gemini.sessions[0].violations.total() == 0


async def test_three_turns_a_barge_in_and_two_kinds_of_tools(gemini: GeminiSim) -> None:
    gemini.scenarios["default"] = Scenario(
        setup_delay_s=0, first_audio_s=0.1, interrupt_s=0.1,
        rules=(
            Rule(match="hours", tools=(ToolUse(name="look_up", args={"day": "monday"}),), then="open {result}"),
            Rule(match="pizza", say="one moment", tools=(ToolUse(name="note"),), then="noted {result}"),
        ),
    )  # fmt: skip
    tools = [{"function_declarations": [{"name": "look_up", "behavior": "BLOCKING"}, {"name": "note"}]}]
    async with _live(gemini, config={**CONFIG, "tools": tools}) as session:
        await session.send_client_content(turns={"role": "user", "parts": [{"text": "greet"}]}, turn_complete=True)  # type: ignore[arg-type]
        greeting, _ = await _turn(session)
        assert {block.reply for block in listen(greeting, 24_000)} == {1}
        await _speak(session, _sentence(HOURS))
        call = await _tool_call(session)
        await _answer(session, call, "nine to five, every day of the week, and on holidays too")
        await asyncio.sleep(0.3)
        await _speak(session, _sentence(PIZZA))
        cut, messages = await _turn(session)
        assert any(m.server_content and m.server_content.interrupted for m in messages)
        assert {block.reply for block in listen(cut, 24_000)} == {2}
        call = await _tool_call(session)
        await _answer(session, call, "done", scheduling="WHEN_IDLE")
        await gemini.until(lambda: len(gemini.sessions[0].of("turnComplete")) == 4)
    log = gemini.sessions[0]
    assert log.heard == [HOURS, PIZZA]
    assert list(log.replies.values())[2:] == ["one moment", "noted done"]
    assert log.violations.total() == 0


async def _tool_call(session: AsyncSession) -> types.FunctionCall:
    async for message in session.receive():
        if message.tool_call and message.tool_call.function_calls:
            return message.tool_call.function_calls[0]
    raise AssertionError("the turn ended without a tool call")


async def _answer(session: AsyncSession, call: types.FunctionCall, text: str, **more: Any) -> None:
    response = types.FunctionResponse(id=call.id, name=call.name, response={"output": text}, **more)
    await session.send_tool_response(function_responses=[response])


DAMAGE = {
    "whole": lambda pcm: pcm,
    "swapped": lambda pcm: np.frombuffer(pcm, "<i2").byteswap().tobytes(),
    "wrong rate": lambda pcm: np.frombuffer(pcm, "<i2")[::2].tobytes(),
    "lossy": lambda pcm: pcm[:12_800] + pcm[13_440:],
    "doubled": lambda pcm: pcm[:12_800] + pcm[12_160:],
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_only_what_arrived_whole_is_understood(gemini: GeminiSim, damage: str) -> None:
    async with _live(gemini) as session:
        sent = DAMAGE[damage](_sentence(HOURS)) + silence(0.6)
        await _speak(session, sent)
        log = gemini.sessions[0]
        await gemini.until(lambda: log.heard or log.not_understood)
    assert log.heard == ([HOURS] if damage == "whole" else [])
    assert bytes(log.audio) == sent[: len(log.audio)]


async def test_a_handle_resumes_after_the_old_socket_was_closed(gemini: GeminiSim) -> None:
    config = {**CONFIG, "session_resumption": {}}
    async with _live(gemini, config=config) as session:
        await session.send_realtime_input(text="hello")
        await _turn(session)
        await gemini.until(lambda: gemini.sessions[0].of("newHandle"))
        resuming = {**CONFIG, "session_resumption": {"handle": gemini.sessions[0].of("newHandle")[-1].body[
            "sessionResumptionUpdate"]["newHandle"]}}  # fmt: skip
        with pytest.raises(errors.APIError) as beside:
            async with _live(gemini, config=resuming):
                pass
        assert beside.value.code == 1011
    async with _live(gemini, config=resuming) as session:
        await session.send_realtime_input(text="again")
        audio, _ = await _turn(session)
    assert {block.reply for block in listen(audio, 24_000)} == {2}


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refused_upgrade(gemini: GeminiSim, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with _live(gemini, f"/http_{status}"):
            pass
    assert refused.value.response.status_code == status
    assert ("Retry-After" in refused.value.response.headers) == (status != 401)
    assert json.loads(refused.value.response.body or b"")["error"]["code"] == status


async def test_silence_instead_of_set_up(gemini: GeminiSim) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), _live(gemini, "/no_setup_ack"):
            pass


@pytest.mark.parametrize(("path", "key", "code"), [
    ("/close_1007", "k", 1007), ("/close_1008", "k", 1008), ("", "sim:badkey", 1007),
])  # fmt: skip
async def test_closed_before_set_up(gemini: GeminiSim, path: str, key: str, code: int) -> None:
    with pytest.raises(errors.APIError) as closed:
        async with _live(gemini, path, key=key):
            pass
    assert closed.value.code == code


@pytest.mark.parametrize(("fault", "code"), [
    (Fault(kind="close", code=1000, reason="", turn=1), 1000),
    (Fault(kind="close", code=1008, reason="policy", turn=1), 1008),
    (Fault(kind="close", code=1011, reason="quota", turn=1), 1011),
    (Fault(kind="rst", turn=1), 1006),
])  # fmt: skip
async def test_ended_in_the_middle_of_the_agents_sentence(gemini: GeminiSim, fault: Fault, code: int) -> None:
    gemini.scenarios["default"] = Scenario(setup_delay_s=0, first_audio_s=0, faults=(fault,))
    async with _live(gemini) as session:
        await session.send_realtime_input(text="hello")
        with pytest.raises(errors.APIError) as ended:
            await _turn(session)
    assert ended.value.code == code


async def test_a_half_open_connection_says_nothing(gemini: GeminiSim) -> None:
    gemini.scenarios["default"] = Scenario(setup_delay_s=0, first_audio_s=0, faults=(Fault(kind="half_open", turn=1),))
    async with _live(gemini) as session:
        await session.send_realtime_input(text="hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await _turn(session)
    assert gemini.sessions[0].of("turnComplete") == []


@pytest.mark.parametrize(("kind", "raised"), [
    ("bad_json", ValueError), ("unknown", TypeError), ("error", TypeError), ("wrong_type", ValidationError),
    ("bad_b64", ValidationError), ("empty", None), ("huge", None), ("phantom_interrupted", None),
])  # fmt: skip
async def test_an_odd_message_and_the_conversation_goes_on(gemini: GeminiSim, kind: Any, raised: Any) -> None:
    async with _live(gemini) as session:
        await gemini.do(1, Fault(kind=kind, at_s=0))
        if raised is not None:
            with pytest.raises(raised):
                await anext(session.receive())
        await session.send_realtime_input(text="hello")
        audio, _ = await _turn(session)
    assert listen(audio, 24_000)


async def test_a_key_chooses_and_changes_a_scenario(gemini: GeminiSim) -> None:
    async with _live(gemini, key="sim:odd_chunks:setup_delay_s=0,first_audio_s=0,rate=8000") as session:
        await session.send_realtime_input(text="hello")
        audio, messages = await _turn(session)
    turns = [m.server_content.model_turn for m in messages if m.server_content and m.server_content.model_turn]
    mimes = {blob.mime_type for turn in turns for blob in _blobs(turn)}
    assert mimes == {"audio/pcm;rate=8000"}
    blocks = [block.block for block in listen(audio, 8000)]
    assert blocks == list(range(len(blocks)))


async def test_other_processes_steer_it_over_http(gemini: GeminiSim) -> None:
    connector = aiohttp.TCPConnector(ssl=gemini.client_context())
    async with aiohttp.ClientSession(gemini.url, connector=connector, raise_for_status=False) as http:
        async with http.put("/_sim/scenarios/mine", json={"setup_delay_s": 0, "greeting": "hi"}) as answer:
            assert answer.status == 200
        async with http.put("/_sim/scenarios/mine", json={"delay": 0}) as answer:
            assert (answer.status, "delay" in await answer.text()) == (400, True)
        async with _live(gemini, "/mine") as session:
            await session.send_realtime_input(text="hello")
            await _turn(session)
            await _speak(session, silence(0.2))
            await gemini.until(lambda: gemini.sessions[0].audio_s >= 0.2)
            async with http.post("/_sim/sessions/1/do", json={"kind": "close", "code": 1011}) as answer:
                assert answer.status == 200
            with pytest.raises(errors.APIError):
                await _turn(session)
        async with http.get("/_sim/sessions/1") as answer:
            facts = await answer.json()
        async with http.get("/_sim/sessions/1/audio.wav") as answer:
            assert len(await answer.read()) == 44 + 6400
        async with http.get("/_sim/sessions/9") as answer:
            assert answer.status == 404
        async with http.post("/_sim/sessions/1/do", json={"kind": "rst"}) as answer:
            assert answer.status == 400  # it is over
    assert facts["replies"] == {"1": "hi"}


async def test_bench_answers_each_frame_by_its_level_and_keeps_the_time(gemini: GeminiSim) -> None:
    async with _live(gemini, "/bench", config={**CONFIG, "session_resumption": {}}) as session:
        tone = (8000 * np.sin(np.arange(320) * 0.4)).astype("<i2").tobytes()
        for pcm in (silence(0.02), tone, tone, silence(0.02), tone):
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type="audio/pcm;rate=16000"))
        levels: list[bool] = []
        async for message in session.receive():
            content = message.server_content
            if content and content.model_turn and content.model_turn.parts and content.model_turn.parts[0].inline_data:
                pcm = content.model_turn.parts[0].inline_data.data or b""
                assert len(pcm) == 960
                levels.append(bool(np.frombuffer(pcm, "<i2").max() > 2000))
            if len(levels) == 5:
                break
    assert levels == [False, True, True, False, True]
    assert len(gemini.sessions[0].marks) == 2


def test_base64_of_both_alphabets_is_read_in_bench() -> None:
    from trunkline_sim.gemini_bench import audio_of

    pcm = b"\xfb\xff" * 320
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        body = json.dumps({"realtime_input": {"audio": {"mime_type": "audio/pcm", "data": encode(pcm).decode()}}})
        assert audio_of(body) == pcm
    assert audio_of('{"setup":{}}') is None
