"""What a request's body says about routing: the model, whether it streams, and the prompt's bytes.

The JSON is walked once, in C, and only the members named below are kept, as slices of the body. Form data (audio) is
searched for its `model` part.
"""

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType


class Reading(Struct, frozen=True, gc=False):
    """`model` is "" when the body names none. `error` says why the body is no valid request, "" when it is one."""

    model: str = ""
    stream: bool = False
    prompt: bytes = b""
    error: str = ""
    param: str | None = None


NOTHING = Reading()


class _Body(Struct, gc=False):
    model: Raw | UnsetType = UNSET
    stream: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Body).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode

_PART = re.compile(rb'\r\ncontent-disposition:[^\r\n]*;[ \t]*name="?model"?[ \t]*(?:;[^\r\n]*)?\r\n', re.IGNORECASE)


def read_body(content_type: bytes, body: bytes) -> Reading:
    """Read a body by its content type; a body of another kind says nothing, and is no error."""
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == b"application/json" or kind.endswith(b"+json"):
        return _read_json(body)
    if kind == b"multipart/form-data":
        return _read_form(body)
    # `curl -d '{…}'` without a header says it is a form; what starts like an object and is one, is read as one.
    if kind in (b"", b"application/x-www-form-urlencoded", b"text/plain") and body[:1] == b"{":
        reading = _read_json(body)
        return NOTHING if reading.error else reading
    return NOTHING


def _read_json(body: bytes) -> Reading:
    try:
        found = _decode(body)
    except msgspec.ValidationError:
        return Reading(error="the body must be a JSON object")
    except msgspec.DecodeError as error:
        return Reading(error=f"the body is not valid JSON: {error}")
    except RecursionError:
        return Reading(error="the body's JSON is nested too deeply")
    model = ""
    raw = found.model
    if raw is not UNSET and bytes(raw) != b"null":
        try:
            model = _decode_text(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Reading(error="model must be a string, the name of a model", param="model")
    prompt = found.messages
    if prompt is UNSET:
        prompt = found.prompt
        if prompt is UNSET:
            prompt = found.input
    stream = found.stream
    return Reading(
        model,
        stream is not UNSET and bytes(stream) == b"true",
        b"" if prompt is UNSET else bytes(prompt),
    )


def _read_form(body: bytes) -> Reading:
    """The value of the part called `model`, RFC 7578."""
    boundary = body.partition(b"\r\n")[0]
    if not boundary.startswith(b"--"):
        return Reading(error="the body is not valid multipart/form-data: it does not start with a boundary")
    part = _PART.search(body)
    if part is None:
        return NOTHING
    start = body.find(b"\r\n\r\n", part.end() - 2)
    end = body.find(b"\r\n" + boundary, start + 4) if start >= 0 else -1
    if end < 0:
        return Reading(error="the body is not valid multipart/form-data: the part `model` does not end")
    try:
        return Reading(body[start + 4 : end].decode().strip())
    except UnicodeDecodeError:
        return Reading(error="model must be UTF-8 text, the name of a model", param="model")


def with_model(content_type: bytes, body: bytes, model: str) -> bytes:
    """The same body, naming another model; everything else stays as it was, byte for byte."""
    if content_type.partition(b";")[0].strip().lower() == b"multipart/form-data":
        part = _PART.search(body)
        if part is None:
            return body
        boundary = body.partition(b"\r\n")[0]
        start = body.find(b"\r\n\r\n", part.end() - 2) + 4
        return body[:start] + model.encode() + body[body.find(b"\r\n" + boundary, start) :]
    members = _decode_members(body)
    members["model"] = Raw(_encode(model))
    return _encode(members)
