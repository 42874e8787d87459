"""What the model is told outside the conversation itself; it answers in the caller's language."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trunkline.ai.session import Brief, Occasion
from trunkline.ai.tools import ToolResult

NUDGE = "(The caller is waiting for your answer. Answer now.)"
_ASK = {
    "greeting": "(The call has just begun. Greet the caller now.)",
    "silence": "(The caller has said nothing for a while. Ask briefly whether they are still there.)",
    "goodbye": "(Say goodbye to the caller now, in one short sentence.)",
    "say": "(Say something to the caller now.)",
}
_TELEPHONE = (
    "You are talking on the telephone: short spoken sentences, no lists, no markup. Text in parentheses comes from the "
    "telephone system, not from the caller: do what it says and never mention it."
)


def instructions(brief: Brief) -> str:
    """The system instruction."""
    parts = [brief.instructions.strip(), _TELEPHONE]
    if brief.language:
        parts.append(f"Speak the language {brief.language!r} unless the caller speaks another.")
    if brief.caller:
        parts.append(f"The caller's number is {brief.caller}.")
    context = {name: value for name, value in brief.context.items() if name not in ("history", "resumed")}
    if context:
        parts.append("What is known about this call: " + _json(context))
    return "\n\n".join(part for part in parts if part)


def ask(occasion: Occasion, text: str) -> str:
    """Speak now, unasked."""
    if not text:
        return _ASK[occasion]
    return f'(Say to the caller now, word for word and nothing else: "{text}")'


def keys(pressed: str) -> str:
    """The caller used the keypad."""
    noun = "key" if len(pressed) == 1 else "keys"
    return f"(The caller pressed the {noun} {' '.join(pressed)} on the telephone.)"


def result(done: ToolResult, arguments: Mapping[str, Any]) -> str:
    """A tool's answer for a connection that did not ask for it."""
    outcome = f"failed: {done.error}" if done.error else f"answered: {_json(done.value)}"
    return f"(The tool {done.name} that you had asked for with {_json(dict(arguments))} {outcome} Tell the caller.)"


def go_on(said: str, asked: str, prompt: str) -> str:
    """The model was cut off by a lost connection. asked: the caller's words; prompt: else what it was told to say."""
    why = f" You had been told: {prompt}" if prompt else f' The caller had said: "{asked}".' if asked else ""
    if not said:
        return f"(The line was interrupted.{why} Answer now.)"
    return (
        f'(The line was interrupted while you were speaking.{why} The caller has heard this of it: "{said}" '
        "Go on from there, without greeting and without repeating it.)"
    )


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
