"""Ending a dead gateway's dialogs: records from messages, requests from records, the journal between them."""

import asyncio
import socket

from trunkline.bridge.sip.dialogs import (
    BEYOND,
    Dialog,
    Invite,
    Over,
    bye,
    called,
    cancel,
    invited,
    next_hop,
    placed,
    ringing,
)
from trunkline.bridge.sip.journal import Journal, still_open
from trunkline.bridge.sip.options import Options
from trunkline.bridge.sip.sip_text import SipText
from trunkline.bridge.sip.successor import end_all


def message(start: str, *headers: str) -> SipText:
    return SipText.of("\r\n".join([start, *headers, "", ""]))


CALL = ("Call-ID: c1", "CSeq: 5 INVITE", "Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK7")
IN = message(
    "INVITE sip:us SIP/2.0", *CALL, "From: <sip:them@x>;tag=t", "To: <sip:us@y>", "Contact: <sip:them@192.0.2.9:5070>"
)
ROUTES = ("Record-Route: <sip:p1;lr>, <sip:p2;lr>",)


def test_a_call_to_us():
    later = message("SIP/2.0 200 OK", "To: <sip:us@y>;tag=u")
    found = called(IN, later, "192.0.2.9:5060")
    want = Dialog("c1", "<sip:us@y>;tag=u", "<sip:them@x>;tag=t", "sip:them@192.0.2.9:5070", source="192.0.2.9:5060")
    assert found == want


def test_a_call_of_ours_takes_its_route_backwards():
    ours = ("From: <sip:us@y>;tag=u", "To: <sip:them@x>;tag=t", "Contact: <sip:them@z>", *ROUTES)
    found = placed(message("SIP/2.0 200 OK", *CALL, *ours))
    assert (found.routes, found.cseq) == (("<sip:p2;lr>", "<sip:p1;lr>"), 5)
    assert next_hop(found) == ("udp", "p2", 5060)


def test_bye():
    lines = (
        bye(called(IN, message("SIP/2.0 200 OK", "To: <sip:us@y>;tag=u"), ""), "192.0.2.1:5061", "b")
        .decode()
        .split("\r\n")
    )
    assert lines[0] == "BYE sip:them@192.0.2.9:5070 SIP/2.0"
    assert "Via: SIP/2.0/UDP 192.0.2.1:5061;rport;branch=z9hG4bKb" in lines
    assert "From: <sip:us@y>;tag=u" in lines
    assert "To: <sip:them@x>;tag=t" in lines
    assert f"CSeq: {BEYOND} BYE" in lines
    assert lines[-2:] == ["", ""]


def test_a_strict_router_gets_its_own_uri():
    dialog = Dialog("c", "<l>", "<r>", "sip:them@z", ("<sip:old>", "<sip:p2;lr>"), 1)
    text = bye(dialog, "h:1", "b").decode()
    assert text.startswith("BYE sip:old SIP/2.0")
    assert "Route: <sip:p2;lr>\r\nRoute: <sip:them@z>\r\n" in text


def test_cancel_repeats_the_invites_via_and_number():
    out = message(
        "INVITE sip:them@z SIP/2.0", *CALL, "From: <sip:us@y>;tag=u", "To: <sip:them@z>", "Route: <sip:p1;lr>"
    )
    text = cancel(invited(out)).decode()
    assert text.startswith("CANCEL sip:them@z SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK7\r\n")
    assert "CSeq: 5 CANCEL" in text
    assert "Route: <sip:p1;lr>" in text


def test_a_ringing_call_is_cancelled_by_the_way_that_worked():
    sent = Invite("c1", transport="tcp", via="SIP/2.0/TCP 192.0.2.1;rport;branch=z9hG4bKa;alias")
    heard = message(
        "SIP/2.0 180 Ringing", "Via: SIP/2.0/UDP 192.0.2.1:5060;rport=5060;received=192.0.2.1;branch=z9hG4bKb"
    )
    found = ringing(sent, heard)
    assert (found.via, found.transport) == ("SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKb", "udp")
    assert ringing(sent, message("SIP/2.0 180 Ringing")) == sent


def test_next_hops():
    assert next_hop(Dialog("c", "", "", "sip:u@h:5070;transport=tcp")) == ("tcp", "h", 5070)
    assert next_hop(Dialog("c", "", "", "sips:u@h")) == ("tls", "h", 5061)
    assert next_hop(Dialog("c", "", "", "sip:u@h", transport="tls")) == ("tls", "h", 5061)
    assert next_hop(Dialog("c", "", "", ""))[1] == ""


def test_the_journal_gives_a_successor_what_is_open(tmp_path):
    path = str(tmp_path / "run" / "journal")
    first = Journal(path)
    assert first.begin() == []
    up = Dialog("c2", "<l>;tag=1", "<r>;tag=2", "sip:t")
    for record in (Invite("c1"), Invite("c2", via="v"), up, Dialog("c3", "", "", ""), Over("c3"), Over("unknown")):
        first.note(record)
    with open(path, "ab") as file:
        file.write(b'{"type":"up","call_id":"c4"')  # cut by the crash
    second = Journal(path)
    assert second.begin() == [Invite("c1"), up]
    second.note(Over("c1"))
    second.close()
    third = Journal(path)
    assert third.begin() == [up]
    third.close()
    first.close()


def test_the_journal_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("trunkline.bridge.sip.journal.MOST_LINES", 50)
    journal = Journal(str(tmp_path / "j"))
    journal.begin()
    journal.note(Invite("stays"))
    for at in range(200):
        journal.note(Invite(f"c{at}"))
        journal.note(Over(f"c{at}"))
    lines = (tmp_path / "j").read_bytes().splitlines()
    assert len(lines) <= 52
    assert list(still_open(lines)) == ["stays"]
    journal.close()


async def test_a_successor_says_bye_again_until_it_is_heard():
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.bind(("127.0.0.1", 0))
        far.setblocking(False)
        left = [
            Dialog("c1", "<l>", "<r>", f"sip:t@127.0.0.1:{far.getsockname()[1]}"),
            Invite("c2"),
            Dialog("c3", "", "", ""),
        ]

        async def hears() -> bytes:
            await loop.sock_recvfrom(far, 2000)  # lost
            data, address = await loop.sock_recvfrom(far, 2000)
            await loop.sock_sendto(far, b"SIP/2.0 200 OK\r\n\r\n", address)
            return data

        task = asyncio.create_task(hears())
        found = {record.call_id: answered async for record, answered in end_all(left, "127.0.0.1", Options())}
        assert (await task).startswith(b"BYE sip:t@127.0.0.1")
    assert found == {"c1": True, "c2": False, "c3": False}


async def test_a_successor_by_tcp():
    heard: list[bytes] = []

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"SIP/2.0 200 OK\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(far, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    left = [
        Dialog("c1", "<l>", "<r>", f"sip:t@127.0.0.1:{port};transport=tcp"),
        Dialog("c2", "", "", "sip:t@127.0.0.1:1;transport=tcp"),
    ]
    found = {record.call_id: answered async for record, answered in end_all(left, "", Options())}
    server.close()
    assert found == {"c1": True, "c2": False}
    assert heard[0].startswith(b"BYE")
