"""Smartflo's HTTP side: the webhooks an operator configured, and the question where a call's socket is."""

import json
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from trunkline_sim.errors import EndpointError
from trunkline_sim.wire import CallFacts

ENDPOINT_S = 2.0  # the platform waits no longer for a dynamic endpoint
Body: TypeAlias = Literal["json", "form", "query"]

HANGUP: Mapping[str, str] = {
    "event": "hangup",
    **{
        name: f"${name}"
        for name in (
            "uuid",
            "call_id",
            "ref_id",
            "direction",
            "call_status",
            "customer_number",
            "call_to_number",
            "start_stamp",
            "answer_stamp",
            "end_stamp",
            "duration",
            "billsec",
            "hangup_cause_key",
            "recording_url",
            "custom_identifier",
        )
    },
}
ENDPOINT: Mapping[str, str] = {name: f"${name}" for name in ("callId", "fromNumber", "toNumber", "status")}


def fill(template: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """An operator's template with the call's values; what is unknown stays literal, as on the real platform."""
    return {key: values.get(text[1:], text) if text.startswith("$") else text for key, text in template.items()}


def call_values(facts: CallFacts, *, seconds: int = 0, status: str = "Answered") -> dict[str, str]:
    """The platform's variables for a call, without `$`."""
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return {
        "uuid": facts.stream_sid,
        "call_id": facts.call_sid.rpartition("-")[2],
        "callId": facts.call_sid,
        "fromNumber": facts.from_,
        "toNumber": facts.to,
        "status": "ringing",
        "direction": facts.direction,
        "call_status": status,
        "customer_number": facts.from_ if facts.direction == "inbound" else facts.to,
        "call_to_number": facts.to,
        "start_stamp": now,
        "end_stamp": now,
        "duration": str(seconds),
        "billsec": str(seconds),
        "hangup_cause_key": "NORMAL_CLEARING",
    }


async def notify(
    url: str, body: Mapping[str, str], shape: Body = "json", headers: Mapping[str, str] | None = None
) -> int:
    """Deliver a webhook; the HTTP status, which the platform itself ignores. Raises EndpointError without an answer."""
    answer = await _ask(url, body, shape, headers, timeout_s=30.0)
    return answer[0]


async def ask_endpoint(
    url: str, facts: CallFacts, shape: Body = "json", headers: Mapping[str, str] | None = None
) -> str:
    """Ask a dynamic endpoint for the call's media socket, its `wss_url`. Raises EndpointError where the call fails."""
    status, text = await _ask(url, fill(ENDPOINT, call_values(facts)), shape, headers, timeout_s=ENDPOINT_S)
    if status != 200:
        raise EndpointError(f"{url} answered {status}; the platform wants 200")
    return _wss_url(url, text)


def _wss_url(url: str, text: str) -> str:
    try:
        answer: Any = json.loads(text)
    except ValueError as wrong:
        raise EndpointError(f"{url}: the answer is no JSON: {text[:200]!r}") from wrong
    found = answer.get("wss_url") if isinstance(answer, dict) and answer.get("success") is True else None
    if not isinstance(found, str) or urlsplit(found).scheme not in ("ws", "wss"):
        raise EndpointError(f'{url}: wanted {{"success": true, "wss_url": "wss://…"}}, got {text[:200]!r}')
    return found


async def _ask(
    url: str, body: Mapping[str, str], shape: Body, headers: Mapping[str, str] | None, timeout_s: float
) -> tuple[int, str]:
    limit = aiohttp.ClientTimeout(total=timeout_s)
    method = "GET" if shape == "query" else "POST"
    given: dict[str, Any] = {{"json": "json", "form": "data", "query": "params"}[shape]: dict(body)}
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, headers=headers) as session,
            session.request(method, url, **given) as response,
        ):
            return response.status, await response.text()
    except TimeoutError as wrong:
        raise EndpointError(f"{url} did not answer within {timeout_s:g} s") from wrong
    except (aiohttp.ClientError, OSError) as wrong:
        raise EndpointError(f"{url} cannot be asked: {wrong}") from wrong
