"""Twilio end to end: the simulated platform asks for TwiML, opens the socket it is led to, signs all of it; and what
forged, replayed and misaddressed requests are told. Signatures are made by Twilio's own library."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
import pytest
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, VoiceResponse

from tests.wire.service import PATIENCE_S, TONE, Running, running, settings_of
from trunkline import keys
from trunkline.bridge.webhook import state_of
from trunkline.calls.store import CallStore
from trunkline.calls.store_sql import open_store
from trunkline.config_load import database_url
from trunkline.errors import StoreError
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import load, parse
from trunkline_sim.twilio import TwilioSpeaker, call_facts
from trunkline_sim.twilio_http import ask_answer, call_fields, progress, read_twiml, stream_fields, tell
from trunkline_sim.voices import Voices
from trunkline_sim.wire import CallFacts

pytestmark = pytest.mark.wire
TOKEN = "twilio-token"
SDK = RequestValidator(TOKEN)
SIGNED: Mapping[str, Any] = {"carriers": {"twilio": {"auth_token": TOKEN}}}
EXAMPLES = Path(__file__).parents[2] / "examples"


def sdk_signed(url: str, fields: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"X-Twilio-Signature": SDK.compute_signature(url, dict(fields or {}))}


def some_call() -> CallFacts:
    return call_facts("15005550006", "918069000000")


async def answered(run: Running, facts: CallFacts, path: str = "/answer/twilio") -> tuple[int, str]:
    """Ask for TwiML as Twilio does."""
    fields, url = call_fields(facts, "ringing"), run.url + path
    async with run.client.post(url, data=fields, headers=sdk_signed(url, fields)) as response:
        return response.status, await response.text()


@asynccontextmanager
async def socket(run: Running, url: str, facts: CallFacts) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A described stream."""
    async with run.client.ws_connect(url, headers=sdk_signed(url)) as ws:
        speaker = TwilioSpeaker(facts)
        await ws.send_str(speaker.connected())
        await ws.send_str(speaker.start())
        yield ws


async def refused(run: Running, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The problem that a handshake is refused with."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    async with run.client.get(url.replace("ws", "http", 1), headers={**upgrade, **(headers or {})}) as response:
        assert response.status == 403, await response.text()
        return dict(await response.json())


async def until_closed(ws: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(PATIENCE_S):
        async for _message in ws:
            pass
    return ws.close_code


# -- a call


@pytest.mark.parametrize("auth_token", ["", TOKEN], ids=["on this machine", "signed"])
async def test_a_scripted_call_with_the_offline_agent(tmp_path: Path, auth_token: str) -> None:
    changes = {"ai": {"profile": "offline"}, "carriers": {"twilio": {"auth_token": auth_token}}}
    script = load(EXAMPLES / ("barge_in.call" if auth_token else "keys.call"))
    async with running(tmp_path, changes, provider=None) as run:
        plan = Plan(script, run.url + "/answer/twilio?campaign=spring", network="twilio", auth_token=auth_token, seed=3)
        account = await place(plan, Voices())
        assert account.good, account.judged
        assert not account.stream.listener.complaints
        assert account.stream.listener.messages.keys() <= {"media", "mark", "clear"}
        assert account.stream.facts.parameters["campaign"] == "spring"
        (call,) = await run.calls(1, live=False)
        assert (call["carrier"], call["carrier_ref"]) == ("twilio", account.stream.facts.call_sid)
        assert (call["from"], call["to"]) == (account.stream.facts.from_, account.stream.facts.to)
        facts = await run.service.desk.store.webhooks("twilio", account.stream.facts.call_sid)
        assert [row["event"] for row in facts if "by" not in row] == ["stream_started", "stream_stopped"]


async def test_audio_comes_back_in_twilio_s_framing(tmp_path: Path) -> None:
    async with running(tmp_path, {"ai": {"profile": "echo"}}, provider=None) as run:
        script = parse('say "asterisk:vm-goodbye"\nsilence 3 s\nhang up')
        account = await place(Plan(script, run.socket_url + "/twilio/media", network="twilio"), Voices())
        audible = [arrival.payload for arrival in account.stream.arrivals if arrival.audible]
        assert len(audible) > 20
        assert all(len(payload) % 160 == 0 for payload in audible)
        assert account.stream.marks, "our marks were given back"
        (call,) = await run.calls(1, live=False)
        assert (call["cause"], call["fault"]) == ("completed", "caller")


async def test_the_answer_document_is_the_one_twilio_s_library_writes(tmp_path: Path) -> None:
    public = {"server": {"public_url": "https://bot.example.com"}, "auth": {"media_token": "a-secret-token-1234567"}}
    async with running(tmp_path, public) as run:
        status, text = await run.get("/answer/twilio?From=%2B15005550006&To=%2B918069000000&note=a%20%22%3C%26b")
        assert status == 200
        stream = read_twiml("", text.decode())
        response, connect = VoiceResponse(), Connect()
        noun = connect.stream(url=stream.url, status_callback="https://bot.example.com/webhooks/twilio")
        for name, value in (("note", 'a "<&b'), ("from", "+15005550006"), ("to", "+918069000000")):
            noun.parameter(name=name, value=value)
        response.append(connect)
        assert tree(text.decode()) == tree(str(response))
        assert stream.url == "wss://bot.example.com/media/twilio/a-secret-token-1234567", "no CallSid: no invitation"


def tree(text: str) -> Any:
    def shape(one: ElementTree.Element) -> Any:
        return one.tag, dict(one.attrib), [shape(inner) for inner in one]

    return shape(ElementTree.fromstring(text))


async def test_a_full_house_says_busy(tmp_path: Path) -> None:
    async with running(tmp_path, {"limits": {"max_calls": 0}}) as run:
        status, text = await run.get("/answer/twilio?CallSid=CA1&Direction=inbound")
        expected = VoiceResponse()
        expected.reject(reason="busy")
        assert (status, tree(text.decode())) == (200, tree(str(expected)))
        _, text = await run.get("/answer/twilio?CallSid=CA1&Direction=outbound-api")
        assert tree(text.decode()) == ("Response", {}, [("Hangup", {}, [])]), "answered already: it can only be ended"


async def test_both_carriers_are_asked_at_the_same_kind_of_address(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        status, answer = await run.post("/answer/smartflo", json={"callId": "1"})
        assert (status, answer["success"]) == (200, True)
        status, problem = await run.post("/answer/nobody")
        assert (status, problem["allowed"]) == (404, "smartflo, twilio")


# -- who may


async def test_a_forged_signature_is_refused_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        fields = call_fields(some_call(), "completed")
        for path in ("/answer/twilio", "/webhooks/twilio"):
            for headers in (
                {},
                {"X-Twilio-Signature": "forged"},
                {"X-Twilio-Signature": "é"},
                sdk_signed(run.url + path),
            ):
                status, problem = await run.post(path, data=fields, headers=headers)
                assert (status, problem["field"]) == (403, "X-Twilio-Signature"), (path, headers)
                if "X-Twilio-Signature" in headers:
                    assert "public_url" in problem["detail"]
                    assert "auth_token" in problem["detail"]
        problem = await refused(run, run.socket_url + "/twilio/media", {"X-Twilio-Signature": "forged"})
        assert problem["field"] == "X-Twilio-Signature"
        status, _ = await run.post("/answer/twilio?secret=x", data=fields, headers={"X-Webhook-Secret": "x"})
        assert status == 403, "no secret stands in for a signature"
        assert await run.service.desk.store.webhooks("twilio", fields["CallSid"]) == []
        _, text = await run.get("/metrics")
        assert b'carrier="twilio",result="refused"' in text
        assert b'carrier="twilio",reason="unsigned"' in text


async def test_a_signature_is_good_for_its_own_request_only(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        url = run.url + "/webhooks/twilio"
        fields = progress(some_call(), "ringing", 0)
        good = sdk_signed(url, fields)
        assert (await run.post("/webhooks/twilio", data=fields, headers=good))[0] == 200
        assert (await run.post("/webhooks/twilio", data={**fields, "CallStatus": "completed"}, headers=good))[0] == 403
        assert (await run.post("/webhooks/twilio?tenant=7", data=fields, headers=good))[0] == 403
        assert (await run.post("/answer/twilio", data=fields, headers=good))[0] == 403
        status, again = await run.post("/webhooks/twilio", data=fields, headers=good)
        assert (status, again["known"]) == (200, True), "the same once more changes nothing: Twilio itself repeats"


async def test_the_address_signed_is_the_public_one_and_never_the_host_header(tmp_path: Path) -> None:
    public = {**SIGNED, "server": {"public_url": "https://bot.example.com"}}
    fields = progress(some_call(), "ringing", 0)
    async with running(tmp_path, public) as run:
        for url in ("https://bot.example.com/webhooks/twilio", "https://bot.example.com:443/webhooks/twilio"):
            assert (await run.post("/webhooks/twilio", data=fields, headers=sdk_signed(url, fields)))[0] == 200
        for url in ("https://evil.example.com/webhooks/twilio", run.url + "/webhooks/twilio"):
            headers = {
                **sdk_signed(url, fields),
                "Host": urlsplit(url).netloc,
                "X-Forwarded-Host": urlsplit(url).netloc,
            }
            assert (await run.post("/webhooks/twilio", data=fields, headers=headers))[0] == 403
    async with running(tmp_path / "no public url", SIGNED) as run:
        url = "https://tunnel.example.com/webhooks/twilio"
        headers = {**sdk_signed(url, fields), "Host": "tunnel.example.com"}
        status, problem = await run.post("/webhooks/twilio", data=fields, headers=headers)
        assert (status, problem["field"]) == (403, "server.public_url")
        assert "PUBLIC_URL" in problem["allowed"]


async def test_a_json_body_is_vouched_for_by_its_hash(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        body = b'{"CallSid":"CA1","CallStatus":"ringing"}'
        path = f"/webhooks/twilio?bodySHA256={SDK.compute_hash(body.decode())}"
        headers = {**sdk_signed(run.url + path), "Content-Type": "application/json"}
        assert (await run.post(path, data=body, headers=headers))[0] == 200
        assert (await run.post(path, data=body.replace(b"ringing", b"busy"), headers=headers))[0] == 403
        headers = {**sdk_signed(run.url + "/webhooks/twilio"), "Content-Type": "application/json"}
        assert (await run.post("/webhooks/twilio", data=body, headers=headers))[0] == 403, "nobody vouches for it"


async def test_either_token_is_good_while_it_is_being_changed(tmp_path: Path) -> None:
    changes = {"carriers": {"twilio": {"auth_token": "new-token", "other_auth_token": TOKEN}}}
    async with running(tmp_path, changes) as run:
        fields = progress(some_call(), "ringing", 0)
        for token, status in (("new-token", 200), (TOKEN, 200), ("third", 403)):
            assert await tell(run.url + "/webhooks/twilio", fields, token) == status


async def test_a_bare_path_on_a_public_address_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    changes = {"server": {"host": "0.0.0.0"}, "auth": {"media_token": "a-secret-token-1234567"}}
    (tmp_path / "data").mkdir()
    async with open_store(database_url(settings_of(tmp_path, changes))) as store:
        await store.add_key(keys.make("prod", now=datetime.now(UTC))[1])
    async with running(tmp_path, changes) as run:
        for path in ("/media/twilio", "/twilio/media", "/media/smartflo"):
            problem = await refused(run, run.socket_url + path)
            assert (problem["field"], problem["value"]) == ("path", path)
            for what_to_do in ("a path with the secret token", "trunkline doctor", "allow_unauthenticated"):
                assert what_to_do in problem["allowed"]
        async with run.client.ws_connect(run.socket_url + "/media/twilio/a-secret-token-1234567") as ws:
            await ws.close()


# -- replays


async def test_a_replayed_handshake_is_refused_before_the_upgrade(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        facts = some_call()
        stream = await ask_answer(run.url + "/answer/twilio", facts, TOKEN)
        async with socket(run, stream.url, facts) as ws:
            await run.calls(1, live=True)
            problem = await refused(run, stream.url, sdk_signed(stream.url))
            assert problem["field"] == "token"
            await ws.send_str(TwilioSpeaker(facts).stop(""))
            await until_closed(ws)
        await run.calls(1, live=False)
        assert (await refused(run, stream.url, sdk_signed(stream.url)))["field"] == "token", "and after the call, too"
        other = stream.url[:-1] + ("A" if stream.url[-1] != "A" else "B")
        assert "token" in (await refused(run, other, sdk_signed(other)))["title"]
        _, text = await run.get("/metrics")
        assert b'reason="replayed"' in text


async def test_an_invitation_is_for_one_call(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        stream = await ask_answer(run.url + "/answer/twilio", some_call(), TOKEN)
        async with socket(run, stream.url, some_call()) as ws:
            assert await until_closed(ws) == 1000
        assert await run.calls(0, live=True) == []
        assert await run.calls(0, live=False) == []
        assert (await refused(run, stream.url.replace("twilio", "smartflo"), {}))["status"] == 403


async def test_where_the_address_is_the_same_for_all_calls_the_ids_decide(tmp_path: Path) -> None:
    async with running(tmp_path, {**SIGNED, "auth": {"media_token": "a-secret-token-1234567"}}) as run:
        url = run.socket_url + "/media/twilio/a-secret-token-1234567"
        facts = some_call()
        async with socket(run, url, facts) as ws:
            await run.calls(1, live=True)
            for replay in (facts, call_facts("1", "2")):  # the same stream; the same call in another stream
                same_call = CallFacts(**{**fields_of(facts), "stream_sid": replay.stream_sid})
                async with socket(run, url, same_call) as second:
                    assert await until_closed(second) == 1000
            assert len(await run.calls(1, live=True)) == 1
            await ws.send_str(TwilioSpeaker(facts).stop(""))
            await until_closed(ws)
        await run.calls(1, live=False)
        async with socket(run, url, facts) as second:
            assert await until_closed(second) == 1000, "the stream is over and does not come back"
        resumed = CallFacts(**{**fields_of(facts), "stream_sid": "MZ-second"})
        async with socket(run, url, resumed) as third:
            await run.calls(1, live=True)
            await third.send_str(TwilioSpeaker(resumed).stop(""))
            await until_closed(third)
        assert await tell(run.url + "/webhooks/twilio", progress(facts, "completed", 3, 20), TOKEN) == 200
        async with socket(run, url, CallFacts(**{**fields_of(facts), "stream_sid": "MZ-third"})) as late:
            assert await until_closed(late) == 1000, "the call is over, says Twilio"
        assert len(await run.calls(2, live=False)) == 2


def fields_of(facts: CallFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.__slots__}


class Forgetful:
    """A store that can keep calls but no facts of carriers."""

    def __init__(self, store: CallStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def webhook(self, *_: object) -> bool:
        raise StoreError("the disk is full")

    async def webhooks(self, *_: object) -> list[Mapping[str, str]]:
        raise StoreError("the disk is full")


async def test_a_store_that_is_down_costs_no_call(tmp_path: Path) -> None:
    changes = {**SIGNED, "auth": {"media_token": "a-secret-token-1234567"}}
    async with (
        open_store(f"sqlite:///{tmp_path}/calls.db") as store,
        running(tmp_path, changes, store=Forgetful(store)) as run,  # type: ignore[arg-type]
    ):
        call, other = some_call(), some_call()
        invited = await ask_answer(run.url + "/answer/twilio", call, TOKEN)
        for url, who in ((invited.url, call), (run.socket_url + "/media/twilio/a-secret-token-1234567", other)):
            async with socket(run, url, who) as ws:
                await run.calls(1, live=True)
                await ws.send_str(TwilioSpeaker(who).stop(""))
                await until_closed(ws)
        fields = progress(other, "completed", 0)
        assert await tell(run.url + "/webhooks/twilio", fields, TOKEN) == 503, "so that it comes again"


async def test_callbacks_in_any_order_and_twice_are_one_story(tmp_path: Path) -> None:
    async with running(tmp_path, SIGNED) as run:
        facts, url = some_call(), run.url + "/webhooks/twilio"
        said = [progress(facts, "completed", 3, 20), progress(facts, "ringing", 1), progress(facts, "in-progress", 2),
                stream_fields(facts, "stream-started"), stream_fields(facts, "stream-started")]  # fmt: skip
        for fields in (*said, *said):
            assert await tell(url, fields, TOKEN) == 200
        kept = await run.service.desk.store.webhooks("twilio", facts.call_sid)
        assert sorted(row["event"] for row in kept) == ["completed", "in_progress", "ringing", "stream_started"]
        order = [(int(row["sequence"]) if "sequence" in row else None, row.get("status", "")) for row in kept]
        assert state_of(order) == "completed"  # type: ignore[arg-type]


async def test_odd_twilio_messages_harm_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        facts = some_call()
        async with socket(run, run.socket_url + "/media/twilio", facts) as ws:
            for odd in ("no json", "[]", '{"event":"surprise"}', '{"event":"media","media":{"track":"outbound"}}'):
                await ws.send_str(odd)
            await ws.send_str(json.dumps({"event": "media", "media": {"payload": base64.b64encode(TONE).decode()}}))
            await ws.send_str(TwilioSpeaker(facts).stop(""))
            assert await until_closed(ws) == 1000
        (call,) = await run.calls(1, live=False)
        assert call["carrier_ref"] == facts.call_sid
