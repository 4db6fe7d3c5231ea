"""How vLLM says no: the bodies of its error answers."""

from typing import Any

import msgspec
from msgspec import Struct

from headgate.sim.lax import Mistake, tell

JSON = ("content-type", "application/json")


class Reply(Struct, frozen=True, gc=False):
    """A whole answer; the server adds date, server and length. `after`: seconds that it takes to get there."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    after: float = 0.0
    chunked: bool = False  # sent in chunks, so without a length


class Refusal(Struct, frozen=True):
    """An error in a request, in OpenAI's form."""

    status: int
    kind: str
    message: str
    param: str | None = None


def reply(status: int, content: Any) -> Reply:
    """A JSON answer."""
    return Reply(status, (JSON,), msgspec.json.encode(content))


def openai(refusal: Refusal) -> Reply:
    """The error as /v1/chat/completions and most others tell it."""
    if not refusal.kind:
        return framework(refusal.status, refusal.message)
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.param,
        "code": refusal.status,
    }
    return reply(refusal.status, {"error": error})


def anthropic(refusal: Refusal) -> Reply:
    """The error as /v1/messages tells it, once the body could be read."""
    error = {"type": refusal.kind, "message": refusal.message}
    return reply(refusal.status, {"type": "error", "error": error})


def framework(status: int, phrase: str, *headers: tuple[str, str]) -> Reply:
    """The error of the web framework below: no such path, no such method."""
    return Reply(status, (*headers, JSON), msgspec.json.encode({"detail": phrase}))


def bad(message: str, param: str | None = None, value: Any = ...) -> Refusal:
    """A value that vLLM's own checks refuse; with a `param` they repeat it, and its value if given, in the message."""
    if param is not None:
        told = f"parameter={param}" if value is ... else f"parameter={param}, value={value}"
        message = f"{message} ({told})"
    return Refusal(400, "BadRequestError", message, param)


def invalid(mistakes: list[Mistake]) -> Refusal:
    """A body that does not have the form of the request."""
    message, param = tell(mistakes)
    return Refusal(400, "Bad Request", message, param)


def unknown_model(name: str, served: tuple[str, ...]) -> Refusal:
    return Refusal(
        404, "NotFoundError", f"The model `{name}` does not exist. Valid aliases: {', '.join(served)}.", "model"
    )


# What the framework below answers to a body that is not even text; `openai` tells it in the framework's form.
UNREADABLE = Refusal(400, "", "There was an error parsing the body")
MEDIA_TYPE = Refusal(
    400, "Bad Request", "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
)
