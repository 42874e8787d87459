"""Twilio's HTTP side: it asks a number's address for TwiML, signs what it asks, and tells what becomes of the call."""

import base64
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from xml.etree import ElementTree

import aiohttp

from trunkline_sim.errors import EndpointError
from trunkline_sim.wire import CallFacts

ANSWER_S = 15.0  # the platform waits no longer for TwiML
CALLBACK_S = 15.0
MAX_TWIML = 64 << 10  # bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """`<Connect><Stream>` of an answer."""

    url: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    status_callback: str = ""


def sign(token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """The signature of a request: HMAC-SHA1 over the address and the form's fields in order of their names."""
    data = bytearray(url, "utf-8")
    for name, value in sorted(set(fields)):
        data += (name + value).encode()
    return base64.b64encode(hmac.new(token.encode(), bytes(data), hashlib.sha1).digest()).decode()


def signed(token: str, url: str, fields: Mapping[str, str] | None = None) -> dict[str, str]:
    """The headers of a request; without a token none."""
    return {"X-Twilio-Signature": sign(token, url, (fields or {}).items())} if token else {}


def call_fields(facts: CallFacts, status: str, **more: str) -> dict[str, str]:
    """The form of a request about a call."""
    direction = "inbound" if facts.direction == "inbound" else "outbound-api"
    return {
        "AccountSid": facts.account_sid,
        "ApiVersion": "2010-04-01",
        "CallSid": facts.call_sid,
        "CallStatus": status,
        "Direction": direction,
        "From": facts.from_,
        "To": facts.to,
        **more,
    }


async def ask_answer(url: str, facts: CallFacts, token: str = "") -> Stream:
    """What to do with the call. Raises EndpointError where it would fail, or hear busy."""
    status, text = await _post(url, call_fields(facts, "ringing"), token, ANSWER_S)
    if status != 200:
        raise EndpointError(f"{url} answered {status}; the platform wants 200 with TwiML: {text[:300]}")
    return read_twiml(url, text)


def read_twiml(url: str, text: str) -> Stream:
    """The stream that an answer connects to. Raises EndpointError for anything else."""
    if len(text) > MAX_TWIML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise EndpointError(f"{url}: the answer is larger or cleverer than TwiML may be (12100)")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - no entities, see above
    except ElementTree.ParseError as wrong:
        raise EndpointError(f"{url}: the answer is no XML (12100): {text[:200]!r}") from wrong
    reject, stream = root.find("Reject"), root.find("Connect/Stream")
    if root.tag != "Response" or (stream is None and reject is None):
        raise EndpointError(f"{url}: the answer connects the call to nothing: {text[:200]!r}")
    if reject is not None or stream is None:
        reason = "" if reject is None else reject.get("reason", "")
        raise EndpointError(f"{url}: the call is turned away: {reason or 'rejected'}")
    return _stream(url, stream)


def _stream(url: str, stream: ElementTree.Element) -> Stream:
    to = stream.get("url", "")
    if not to.startswith(("wss://", "ws://127.0.0.1", "ws://localhost", "ws://[::1]")):
        raise EndpointError(f"{url}: the stream's scheme must be wss (31922), not {to!r}")
    if "?" in to:
        raise EndpointError(f"{url}: a stream's address may have no query: {to!r}")
    parameters = {one.get("name", ""): one.get("value", "") for one in stream.findall("Parameter")}
    long = [name for name, value in parameters.items() if len(name) + len(value) >= 500]
    if long:
        raise EndpointError(f"{url}: the parameter {long[0]!r} has 500 characters or more")
    return Stream(to, parameters, stream.get("statusCallback", ""))


@asynccontextmanager
async def told(url: str, facts: CallFacts, token: str = "") -> AsyncIterator[list[int]]:
    """`stream-started` before the block, `stream-stopped` behind it; gives the statuses that the service answered."""
    answers: list[int] = []
    if url:
        answers.append(await tell(url, stream_fields(facts, "stream-started"), token))
    try:
        yield answers
    finally:
        if url:
            answers.append(await tell(url, stream_fields(facts, "stream-stopped"), token))


def stream_fields(facts: CallFacts, event: str) -> dict[str, str]:
    """The form of a stream's status callback."""
    return {
        "AccountSid": facts.account_sid,
        "CallSid": facts.call_sid,
        "StreamSid": facts.stream_sid,
        "StreamName": facts.stream_sid,
        "StreamEvent": event,
        "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }


def progress(facts: CallFacts, status: str, number: int, seconds: int = 0) -> dict[str, str]:
    """The form of a call's status callback; `number` counts them from 0."""
    more = {"CallDuration": str(seconds), "Duration": str(-(-seconds // 60))} if status == "completed" else {}
    return call_fields(
        facts, status, CallbackSource="call-progress-events", SequenceNumber=str(number),
        Timestamp=formatdate(usegmt=True).replace("GMT", "+0000"), **more,
    )  # fmt: skip


async def tell(url: str, fields: Mapping[str, str], token: str = "") -> int:
    """Deliver a callback; the HTTP status. Raises EndpointError without an answer."""
    return (await _post(url, fields, token, CALLBACK_S))[0]


async def _post(url: str, fields: Mapping[str, str], token: str, timeout_s: float) -> tuple[int, str]:
    limit = aiohttp.ClientTimeout(total=timeout_s)
    headers = signed(token, url, fields)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, headers=headers) as session,
            session.post(url, data=dict(fields)) as response,
        ):
            return response.status, await response.text()
    except TimeoutError as wrong:
        raise EndpointError(f"{url} did not answer within {timeout_s:g} s") from wrong
    except (aiohttp.ClientError, OSError) as wrong:
        raise EndpointError(f"{url} cannot be asked: {wrong}") from wrong
