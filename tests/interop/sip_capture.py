"""What is on the wire for one address: a packet socket on loopback with a filter in the kernel. Needs root."""

import ctypes
import socket
import struct
import threading
from typing import Final

SO_ATTACH_FILTER: Final = 26
ALL: Final = 3  # ETH_P_ALL
# of classic BPF: an IPv4 frame whose destination is the address
LOAD_HALF, LOAD_WORD, EQUAL, RETURN = 0x28, 0x20, 0x15, 0x06


class Capture:
    """`with Capture("127.0.0.9") as wire: …; wire.packets`"""

    def __init__(self, address: str) -> None:
        wanted = int.from_bytes(socket.inet_aton(address), "big")
        code = [
            (LOAD_HALF, 0, 0, 12), (EQUAL, 0, 3, 0x0800), (LOAD_WORD, 0, 0, 30), (EQUAL, 0, 1, wanted),
            (RETURN, 0, 0, 65_535), (RETURN, 0, 0, 0),
        ]  # fmt: skip
        program = b"".join(struct.pack("=HBBI", *one) for one in code)
        self._kept = ctypes.create_string_buffer(program)
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ALL))
        self._sock.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HL", len(code), ctypes.addressof(self._kept))
        )
        self._sock.bind(("lo", ALL))
        self._sock.settimeout(0.2)
        self._over = threading.Event()
        self.packets: list[bytes] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                frame, (_, _, kind, *_) = self._sock.recvfrom(65_535)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING:  # loopback shows each one twice
                self.packets.append(frame[14:])

    def __enter__(self) -> "Capture":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._sock.close()
