"""The simulated telephone network and our own telephone, over real sockets: each checks the other."""

import asyncio
import json
import wave
from pathlib import Path
from typing import Any

import pytest

from trunkline_sim import sip_sdp
from trunkline_sim.errors import SimError
from trunkline_sim.phone import Plan, place
from trunkline_sim.pstn import Pstn
from trunkline_sim.pstn_account import Account, Entry
from trunkline_sim.pstn_people import people_of
from trunkline_sim.script import parse
from trunkline_sim.sip_dialog import Dialog
from trunkline_sim.sip_digest import answer
from trunkline_sim.sip_events import Me, Refused
from trunkline_sim.sip_message import Message, host_port, render, uri_of
from trunkline_sim.sip_phone import Session
from trunkline_sim.sip_socket import Hop, SipSocket
from trunkline_sim.voices import Voices

pytestmark = pytest.mark.wire
NOWHERE = "http://127.0.0.1:9"  # no service to ask what was said


def network(*people: dict[str, Any], **more: Any) -> Pstn:
    return Pstn(people_of({"person": list(people)}), **more)


async def over(pstn: Pstn, count: int = 1) -> list[Entry]:
    """The ends, once there are so many."""
    async with asyncio.timeout(20):
        while len(pstn.account.ends) < count:  # noqa: ASYNC110 - it is not ours to tell
            await asyncio.sleep(0.02)
    return list(pstn.account.ends)


async def called(pstn: Pstn, steps: str, number: str = "+491", **plan: Any) -> Any:
    """A scripted call to there."""
    script = parse(f"from: 919800000001\n{steps}", "test")
    to = f"sip:{number}@{pstn.host}:{pstn.port}{plan.pop('suffix', '')}"
    return await place(Plan(script, to, api=NOWHERE, **plan), Voices())


async def test_two_people_talk_and_press_keys(tmp_path: Path) -> None:
    lines = (tmp_path / "account").open("w+")
    person = {
        "ring_s": 0.1,
        "record": True,
        "script": "play tone:beep\nwait for keys 12# up to 5 s\npress 5\nwait for hang up",
    }
    async with network(person, account=Account(lines), recordings=tmp_path) as pstn:
        caller = "wait for agent\nplay tone:beep\npress 12#\nsilence 1 s\nhang up"
        told = await called(pstn, caller, parameters={"X-Attempt-Id": "a7"})
        (entry,) = await over(pstn)
    assert told.good, told.judged
    assert told.stream.listener.messages["key"] == 1
    assert told.agent_runs[0].to_s - told.agent_runs[0].from_s == pytest.approx(0.5, abs=0.1)
    assert (entry.keys, entry.by, entry.script_missed, entry.headers) == ("12#", "caller", [], {"x-attempt-id": "a7"})
    assert entry.heard_s == pytest.approx(0.5, abs=0.1)
    lines.seek(0)
    first, last = map(json.loads, lines)
    assert (first["event"], last["event"], first["call_id"]) == ("invited", "over", last["call_id"])
    with wave.open(str(tmp_path / entry.recording)) as sound:
        assert sound.getnchannels() == 2
        assert sound.getnframes() / 8000 > 2


async def test_hold_and_transfer_by_the_caller_over_tcp_with_a_password() -> None:
    singer = {"ring_s": 0.1, "script": "play tone:fax\nwait for hang up"}
    async with network(singer, users={"desk": "geheim"}) as pstn:
        steps = "silence 0.5 s\nhold 0.8 s\nsilence 0.5 s\ntransfer to sip:desk@pbx.invalid\nsilence 0.3 s\nhang up"
        with pytest.raises(SimError, match="407"):
            await called(pstn, steps, suffix=";transport=tcp")
        with pytest.raises(SimError, match=r"407.*the name or the password is wrong"):
            await called(pstn, steps, suffix=";transport=tcp", credentials=("desk", "falsch"))
        told = await called(pstn, steps, suffix=";transport=tcp", credentials=("desk", "geheim"))
        (entry,) = await over(pstn)
    assert told.ending.by == "caller"
    replies = told.stream.listener.messages
    assert (replies["INVITE 200"], replies["REFER 202"], replies["BYE 200"]) == (2, 1, 1)
    assert len(told.agent_runs) == 2  # nothing was heard while they held
    assert (entry.referred_to, entry.by) == ("sip:desk@pbx.invalid", "caller")


async def test_hold_and_transfer_by_the_person() -> None:
    person = {
        "ring_s": 0.1,
        "script": "silence 0.5 s\nhold 0.8 s\nsilence 0.5 s\ntransfer to sip:desk@pbx.invalid\nsilence 0.3 s\nhang up",
    }
    async with network(person) as pstn:
        told = await called(pstn, "play tone:fax\nwait for hang up up to 5 s")
        (entry,) = await over(pstn)
    assert 1.0 < entry.heard_s < 1.9  # of 2.1 s, 0.8 held
    assert (told.ending.by, entry.by, entry.transfer) == ("service", "callee", 200)
    assert entry.replies == {"INVITE 200": 2, "REFER 202": 1}
    assert told.stream.listener.messages["transferred to sip:desk@pbx.invalid"] == 1


async def test_who_listens_everywhere_tells_each_caller_the_address_that_leads_there() -> None:
    pstn = network({"ring_s": 0.0, "script": "hang up"})
    await pstn.open("0.0.0.0")
    async with pstn:
        crowd = await Crowd(pstn.port).open()
        crowd.call("+491")
        await over(pstn)
        await crowd.socket.close()
    (answered,) = (message for message in crowd.heard if message.code == 200)
    audio = sip_sdp.read(answered.body)
    assert audio is not None
    assert (audio.host, host_port(uri_of(answered.first("contact")))) == ("127.0.0.1", ("127.0.0.1", pstn.port))


async def test_a_network_whose_clock_breaks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
    pstn = network({"ring_s": 0.0, "script": "wait for hang up"})
    monkeypatch.setattr(pstn, "_beat_once", lambda _now: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        async with pstn:
            crowd = await Crowd(pstn.port).open()
            crowd.call("+491")
            async with asyncio.timeout(5):
                while not said:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await crowd.socket.close()
    assert "clock" in said[0]["message"]


async def test_an_offer_that_cannot_be_read_is_refused() -> None:
    async with network({}) as pstn:
        crowd = await Crowd(pstn.port).open()
        crowd.call("+491", b"v=0\r\nc=IN IP4 \r\nm=audio x\r\n")
        (entry,) = await over(pstn)
        await crowd.socket.close()
    assert entry.code == 488


async def test_a_refusal_is_told_to_the_person_at_the_terminal() -> None:
    async with network({"kind": "busy", "ring_s": 0.0}) as pstn:
        with pytest.raises(SimError, match="486 Busy Here"):
            await called(pstn, "hang up")
    with pytest.raises(SimError, match="nothing listens there"):
        await called(pstn, "hang up")


async def test_who_is_cancelled_while_it_rings_knows() -> None:
    async with network({"kind": "no_answer"}) as pstn:
        session = Session(f"sip:+491@127.0.0.1:{pstn.port}", "1", {}, None)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.dial(), 0.5)
        (entry,) = await over(pstn)
    assert (entry.by, entry.code, entry.answered_s) == ("caller", 487, None)


class Crowd:
    """Many callers on one socket, who take what they are told and go."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = SipSocket(self._arrived)
        self.dialogs: dict[str, Dialog] = {}
        self.told: dict[str, int] = {}
        self.heard: list[Message] = []
        self.other: asyncio.Queue[Message] = asyncio.Queue()
        self._hop: Hop | None = None

    async def open(self) -> "Crowd":
        await self.socket.open("127.0.0.1", 0, tcp=False)
        self._hop = await self.socket.hop(("127.0.0.1", self.port))
        return self

    def call(self, number: str, offer: bytes = b"") -> None:
        me, target = Me("127.0.0.1", self.socket.port), f"sip:{number}@127.0.0.1:{self.port}"
        dialog = Dialog(
            me, f"call-{number}", reliable=False, local=f"<sip:x@x>;tag={number}", remote=f"<{target}>", target=target
        )
        self.dialogs[dialog.call_id] = dialog
        dialog.invite(offer or sip_sdp.write("127.0.0.1", 9), asyncio.get_running_loop().time())
        self._out(dialog)

    async def ask(self, method: str, *more: tuple[str, str]) -> Message:
        assert self._hop is not None
        uri = f"sip:desk@127.0.0.1:{self.port}"
        head = [
            Me("127.0.0.1", self.socket.port).via(f"z9hG4bK{method}"),
            ("From", f"<{uri}>;tag=f"),
            ("To", f"<{uri}>"),
        ]
        self._hop.send(render(f"{method} {uri} SIP/2.0", [*head, ("Call-ID", method), ("CSeq", f"1 {method}"), *more]))
        return await asyncio.wait_for(self.other.get(), 5)

    def _arrived(self, message: Message, hop: Hop) -> None:
        self.heard.append(message)
        dialog = self.dialogs.get(message.call_id)
        if dialog is None:
            self.other.put_nowait(message)
            return
        for event in dialog.receive(message, asyncio.get_running_loop().time()):
            if isinstance(event, Refused):
                self.told[message.call_id] = event.code
        self._out(dialog)

    def _out(self, dialog: Dialog) -> None:
        assert self._hop is not None
        for data in dialog.out:
            self._hop.send(data)
        dialog.out.clear()


async def test_five_hundred_at_once_each_answered_once() -> None:
    async with network({"kind": "busy", "ring_s": [0.1, 0.5]}) as pstn:
        crowd = await Crowd(pstn.port).open()
        for n in range(500):
            crowd.call(f"+91{n}")
            if n % 50 == 0:
                await asyncio.sleep(0.01)
        ends = await over(pstn, 500)
        async with asyncio.timeout(5):
            while len(crowd.told) < 500:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await crowd.socket.close()
    assert len({entry.number for entry in ends}) == 500
    assert set(crowd.told.values()) == {486}
    assert pstn.account.counts["again"] == 0
    assert pstn.peak > 100


async def test_more_than_the_network_takes_in_a_second_is_turned_away() -> None:
    async with network({"kind": "no_answer"}, most_per_s=5) as pstn:
        crowd = await Crowd(pstn.port).open()
        for n in range(12):
            crowd.call(f"+91{n}")
        async with asyncio.timeout(5):
            while len(crowd.told) < 7:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert set(crowd.told.values()) == {503}
        assert 4 <= pstn.live <= 6
        await crowd.socket.close()
    assert len(pstn.account.ends) == pstn.account.counts["invited"]


async def test_it_is_a_registrar_and_says_that_it_lives() -> None:
    async with network({}, users={"desk": "geheim"}) as pstn:
        crowd = await Crowd(pstn.port).open()
        assert (await crowd.ask("OPTIONS")).code == 200
        contact = ("Contact", "<sip:desk@192.0.2.1>;expires=60")
        asked = await crowd.ask("REGISTER", contact)
        assert asked.code == 401
        uri = f"sip:127.0.0.1:{pstn.port}"
        given = answer(asked.first("www-authenticate"), "REGISTER", uri, "desk", "geheim")
        taken = await crowd.ask("REGISTER", contact, ("Authorization", given))
        assert (taken.code, taken.first("contact"), taken.first("expires")) == (
            200,
            "<sip:desk@192.0.2.1>;expires=60",
            "60",
        )
        assert list(pstn.bindings.values()) == ["sip:desk@192.0.2.1"]
        assert (await crowd.ask("BYE")).code == 481
        await crowd.socket.close()
