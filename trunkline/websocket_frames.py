"""RFC 6455 frames after the handshake: bytes in, messages out, and back. Pure; both roles.

The handshakes stay with the libraries (aiohttp for carriers, google-genai and its websockets for Gemini). A call moves
two hundred messages a second, and there a library's tasks, queues and assembling cost ten times the frame itself.
"""

import struct
from collections.abc import Sequence
from secrets import token_bytes
from typing import Final, NamedTuple

from trunkline.errors import ProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this platform: forty times slower, and right
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_DATA = frozenset({TEXT, BINARY})
_CONTROL = frozenset({CLOSE, PING, PONG})
_MOST_CONTROL = 125  # bytes (5.5)
_SENT_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})  # what an endpoint may put in a close frame (7.4.1)
WHOLE_TEXT: Final = 0x80 | TEXT  # a first byte: all of a text message, no extension
_WHOLE_BINARY: Final = 0x80 | BINARY
_MASKS: Final = 1024  # fetched at once: the kernel's randomness costs its call, not its bytes
_short, _middle, _long = struct.Struct("!BB").pack, struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


class Message(NamedTuple):
    """A whole message (TEXT: UTF-8 not yet looked at; BINARY), or a control frame."""

    opcode: int
    payload: bytes


class FrameError(ProtocolError):
    """The far end broke the framing; the connection is to be closed with `close_code` (7.4.1)."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason, peer="websocket")
        self.close_code = close_code
        self.before: Sequence[Message] = ()  # what came whole before it, in the same bytes


class FrameReader:
    """One direction of one connection. After a FrameError nothing more may be fed."""

    def __init__(self, *, masked: bool, most_bytes: int) -> None:
        """masked: the far end is a client, whose frames must be masked (5.1); most_bytes: of one message."""
        self._masked = masked
        self._most = most_bytes
        self._usual_length = 0x80 | 126 if masked else 126  # of nearly all that comes: 126 to 65,535 bytes
        self._begins = 8 if masked else 4  # its payload
        self._rest: list[bytes] = []  # the beginning of a frame that is not all there,
        self._has = 0  # its bytes so far,
        self._needs = 0  # and how many it takes to say more
        self._opcode = 0  # of the message whose fragments are being gathered
        self._parts: list[bytes] = []
        self._size = 0

    def whole(self, data: bytes) -> bytes | None:
        """The payload, where these bytes are one whole message and nothing else, as nearly always: of a text where
        data[0] is WHOLE_TEXT, else binary. None: `feed` them."""
        begins = self._begins
        if len(data) > begins and data[1] == self._usual_length and not self._rest and not self._opcode:
            first, size = data[0], data[2] << 8 | data[3]
            if len(data) == begins + size and size <= self._most and first in (WHOLE_TEXT, _WHOLE_BINARY):
                payload = data[begins:]
                return apply_mask(payload, data[4:8]) if self._masked else payload
        return None

    def feed(self, data: bytes) -> Sequence[Message]:
        """Everything that these bytes complete, in order. Raises FrameError; its `before` is what came before it."""
        if self._rest:
            self._rest.append(data)
            self._has += len(data)
            if self._has < self._needs:
                return ()
            data = b"".join(self._rest)
            self._rest.clear()
        found: list[Message] = []
        at, end = 0, len(data)
        try:
            while at < end and (after := self._frame(data, at, end, found)):
                at = after
        except FrameError as error:
            error.before = found
            raise
        if at < end:
            self._rest.append(data[at:])
            self._has = end - at
        return found

    def _frame(self, data: bytes, at: int, end: int, found: list[Message]) -> int:
        """One frame at `at`: where the next one begins, or 0 while it is not all there."""
        begins = at + 2
        if end < begins:
            self._needs = 2
            return 0
        first, second = data[at], data[at + 1]
        size = second & 0x7F
        if (second >= 0x80) is not self._masked:
            raise FrameError(1002, "a frame of a client must be masked, one of a server must not be")
        if size > 125:
            begins += 2 if size == 126 else 8
            if end < begins or first & 0x08:  # a control frame never has a long length, however small it says it is
                self._check(first, size)
                self._needs = begins - at
                return 0
            size = int.from_bytes(data[at + 2 : begins])
        if size + self._size > self._most and not first & 0x08:
            self._check(first, size)
            raise FrameError(1009, f"a message may have {self._most} bytes")
        after = begins + size + 4 if self._masked else begins + size
        if end < after:
            self._check(first, size)
            self._needs = after - at
            return 0
        payload = data[after - size : after]
        if self._masked:
            payload = apply_mask(payload, data[begins : begins + 4])
        if first == WHOLE_TEXT and not self._opcode:  # nearly all there is
            found.append(Message(TEXT, payload))
        else:
            self._take(first, payload, found)
        return after

    def _check(self, first: int, size: int) -> None:
        """What must not be waited for."""
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set, no extension was agreed on")
        opcode = first & 0x0F
        if opcode in _CONTROL:
            if size > _MOST_CONTROL or not first & 0x80:
                raise FrameError(1002, "a control frame has at most 125 bytes and no fragments")
        elif opcode in _DATA:
            if self._opcode:
                raise FrameError(1002, "a new message began within another one's fragments")
        elif opcode != CONTINUATION:
            raise FrameError(1002, f"opcode {opcode} is not defined")
        elif not self._opcode:
            raise FrameError(1002, "a continuation of nothing")

    def _take(self, first: int, payload: bytes, found: list[Message]) -> None:
        self._check(first, len(payload))
        opcode = first & 0x0F
        if opcode in _CONTROL or (first & 0x80 and not self._opcode):
            found.append(Message(opcode, payload))
            return
        self._opcode = self._opcode or opcode
        self._size += len(payload)
        if len(self._parts) > self._most // 16 + 64:
            raise FrameError(1009, "a message in crumbs")  # they are a flood too
        self._parts.append(payload)
        if first & 0x80:
            found.append(Message(self._opcode, b"".join(self._parts)))
            self._opcode, self._size = 0, 0
            self._parts.clear()


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A whole message or control frame as a server sends it: unmasked."""
    return _head(opcode, len(payload), 0) + payload


def client_frame(opcode: int, payload: bytes) -> bytes:
    """The same as a client sends it, under a mask of its own (5.3)."""
    mask = _masks.next()
    return _head(opcode, len(payload), 0x80) + mask + apply_mask(payload, mask)


class _Masks:
    """Four bytes that nobody can foresee (10.3), each once."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def next(self) -> bytes:
        """Another one."""
        at = self._at
        if at >= len(self._bytes):
            self._bytes, at = token_bytes(4 * _MASKS), 0
        self._at = at + 4
        return self._bytes[at : at + 4]


_masks: Final = _Masks()


def _head(opcode: int, size: int, masked: int) -> bytes:
    if size < 126:
        return _short(0x80 | opcode, masked | size)
    if size < 65_536:
        return _middle(0x80 | opcode, masked | 126, size)
    return _long(0x80 | opcode, masked | 127, size)


def close_payload(code: int, reason: str = "") -> bytes:
    """What a close frame holds; at most 125 bytes, cut between characters. 1005 is said by holding nothing (7.4.1)."""
    if code == 1005:
        return b""
    return code.to_bytes(2) + reason.encode(errors="replace")[: _MOST_CONTROL - 2].decode(errors="ignore").encode()


def close_of(payload: bytes) -> tuple[int, str]:
    """(code, reason) of a close frame: 1005 where it holds none (7.1.5). Raises FrameError for what none may hold."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not (code in _SENT_CODES or 3000 <= code < 5000):
        raise FrameError(1002, "a close frame holds a code that none may hold")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise FrameError(1007, "the reason of a close frame is no UTF-8") from error
