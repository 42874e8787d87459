"""The one message of Smartflo's and Twilio's family that comes 10 to 50 times a second, as a typed value. In a file of
its own: mypyc does not hand a struct its annotations as they are written (ADR 0007)."""

import msgspec


class Media(msgspec.Struct, gc=False):
    """What is in it."""

    payload: bytes  # base64 on the wire
    timestamp: int | None = None  # ms since the stream began
    track: str = ""


class MediaMessage(msgspec.Struct, tag_field="event", tag="media", gc=False):
    """Whatever does not fit takes the lenient way."""

    media: Media
    streamSid: str = ""  # noqa: N815 (the wire's name)
    sequenceNumber: int | None = None  # noqa: N815


read_media = msgspec.json.Decoder(MediaMessage, strict=False).decode
