"""Reading a request's body: what it must be before anybody looks at its fields."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from headgate.sim.lax import Mistake, Reader
from headgate.sim.refusals import MEDIA_TYPE, UNREADABLE, Refusal, invalid


class Ask(Protocol):
    """A request as the simulator sees it; header names are in lower case, `path` is decoded and without the query."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


def read(ask: Ask, reader: Reader) -> dict[str, Any] | Refusal:
    """The body's fields, or what is wrong with them."""
    content = parse(ask)
    return content if isinstance(content, Refusal) else fields(content, reader)


def parse(ask: Ask) -> dict[str, Any] | Refusal:
    """The JSON object in the body, as it came."""
    media = ask.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        return MEDIA_TYPE
    if not ask.body:
        return invalid([Mistake("missing", ("body",), "Field required", None)])
    try:
        content = msgspec.json.decode(ask.body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        content = _parse_slowly(ask.body)
    if isinstance(content, (dict, Refusal)):
        return content
    if content is None:
        return invalid([Mistake("missing", ("body",), "Field required", None)])
    message = "Input should be a valid dictionary or object to extract fields from"
    return invalid([Mistake("model_attributes_type", ("body",), message, content)])


def fields(content: dict[str, Any], reader: Reader) -> dict[str, Any] | Refusal:
    """The fields of a JSON object, or what is wrong with them."""
    found, mistakes = reader(content, ("body",))
    if mistakes:
        return invalid(mistakes)
    return dict(found)


def _parse_slowly(body: bytes) -> Any:
    """The standard library's parser: vLLM's answers to broken JSON use its words, and it takes NaN."""
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        place = ("body", error.pos)
        return invalid([Mistake("json_invalid", place, "JSON decode error", {}, {"error": error.msg})])
    except (ValueError, RecursionError):
        return UNREADABLE


def for_invocation(refusal: Refusal, body: bytes) -> Refusal:
    """The same refusal as /invocations words it, which reads the body itself."""
    if refusal.param is None:
        return refusal
    try:
        content = json.loads(body)
    except ValueError as error:
        return Refusal(400, "Bad Request", f"JSON decode error: {error}")
    if isinstance(content, (list, str)):
        kind = "list" if isinstance(content, list) else "string"
        return Refusal(400, "BadRequestError", f"{kind} indices must be integers or slices, not str")
    return Refusal(400, "BadRequestError", f"'{type(content).__name__}' object is not subscriptable")
