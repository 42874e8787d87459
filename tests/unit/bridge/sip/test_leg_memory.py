"""A leg that is over holds nothing of the rings, however long somebody holds the leg."""

import os
from pathlib import Path

from trunkline.bridge.sip import profile
from trunkline.bridge.sip.leg import SipLeg
from trunkline.bridge.sip.messages import Offer
from trunkline.bridge.sip.ring import RingMemory
from trunkline.clock import SystemClock


class Line:
    def send(self, message: object) -> None:
        pass


def mapped() -> int:
    """Descriptors of ring memory in this process."""
    links = [os.readlink(f"/proc/self/fd/{one.name}") for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return sum("memfd:trunkline-rings" in link for link in links)


async def test_the_memory_goes_with_its_last_call_not_with_its_last_reader():
    before, memory = mapped(), RingMemory.make(2, 8000)
    assert mapped() > before
    slot = memory.slot(1)
    slot.clear()
    offer = Offer(1, "sip:agent@h", "agent", "", "", "udp 127.0.0.1:1", "ref", "", (), {})
    leg = SipLeg(1, slot, profile.inbound(offer, "agent", 8000), Line(), SystemClock())
    leg.send(bytes(640))
    del slot
    leg.lost()
    memory.close()
    assert mapped() == before
    assert (leg.has_room(), leg.playing(), leg.flush()) == (True, False, 0.0)
    leg.send(bytes(320))
    leg.mark("late")
    leg.beat(1.0)
    assert leg.counters["sent_after_end"] == 1
