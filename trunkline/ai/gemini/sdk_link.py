"""A connection as a session uses it. Past google-genai, on its connection's own frames: the caller's voice and our
words to the model. By it: the past, and tools' results."""

from binascii import b2a_base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from google.genai import types
from google.genai.live import AsyncSession
from websockets.exceptions import ConnectionClosed

from trunkline.ai.gemini.channel import Channel, Ended, Take
from trunkline.ai.gemini.faults import Broken, of_close
from trunkline.ai.gemini.past import Role
from trunkline.ai.gemini.wire import INPUT_RATE, text_message
from trunkline.ai.tools import ToolResult

_AUDIO_HEAD: Final = f'{{"realtimeInput":{{"audio":{{"mimeType":"audio/pcm;rate={INPUT_RATE}","data":"'.encode()
_AUDIO_TAIL: Final = b'"}}}'


def audio_message(pcm: bytes) -> bytes:
    """The caller's voice as the server wants it. pcm: s16le, 16 kHz, any length."""
    return _AUDIO_HEAD + b2a_base64(pcm, newline=False) + _AUDIO_TAIL


class SdkLink:
    """A `Link` over a session of the SDK and its connection's frames. One follower."""

    def __init__(self, session: AsyncSession, channel: Channel) -> None:
        self._session = session
        self._channel = channel

    @property
    def blocked_s(self) -> float:
        """See Link."""
        return self._channel.blocked_s

    def audio(self, pcm: bytes) -> bool:
        """See Link."""
        channel = self._channel
        if channel.blocked:
            return False
        try:
            channel.text(audio_message(pcm))
        except Ended as ended:
            raise _broken(ended) from ended
        return True

    async def room(self) -> None:
        """See Link."""
        await self._channel.room()

    async def say(self, text: str) -> None:
        """See Link."""
        try:
            self._channel.text(text_message(text))
        except Ended as ended:
            raise _broken(ended) from ended

    async def seed(self, turns: Sequence[tuple[Role, str]], *, first: bool) -> None:
        """See Link."""
        contents: list[types.ContentOrDict] = [
            types.Content(role=role, parts=[types.Part(text=text)]) for role, text in turns
        ]
        with _closes_told():
            await self._session.send_client_content(turns=contents, turn_complete=first)

    async def answer(self, result: ToolResult) -> None:
        """See Link."""
        response: Mapping[str, Any] = {"error": result.error} if result.error else {"output": result.value}
        answer = types.FunctionResponse(id=result.id, name=result.name, response=dict(response))
        with _closes_told():
            await self._session.send_tool_response(function_responses=[answer])

    async def follow(self, take: Take) -> None:
        """See Link."""
        try:
            await self._channel.follow(take)
        except Ended as ended:
            raise _broken(ended) from ended

    async def close(self) -> None:
        """See Link."""
        await self._channel.close()

    def abort(self) -> None:
        """See Link."""
        self._channel.abort()


@contextmanager
def _closes_told() -> Iterator[None]:
    try:
        yield
    except ConnectionClosed as error:
        raise Broken(of_close(*close_of_sdk(error), set_up=True, handle=False)) from error


def _broken(ended: Ended) -> Broken:
    return Broken(of_close(ended.closing.code, ended.closing.reason, set_up=True, handle=False))


def close_of_sdk(error: ConnectionClosed) -> tuple[int, str]:
    """Code and reason of a close that the SDK's own websocket tells."""
    frame = error.rcvd or error.sent
    return (frame.code, frame.reason) if frame is not None else (1006, "")
