"""What a request's body says: the model, whether and how it is to be streamed, and the prompt's bytes.

The JSON is walked once, in C, and only the members named below are kept, as slices of the body.
"""

import re

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from headgate.exchange.form import find_model
from headgate.exchange.shorten import LARGE, MARK, shorten
from headgate.exchange.stream_options import truth

_LONGEST_NAME = 1024  # characters; names go into headers, records and metrics
_OBJECT = re.compile(rb"(?:\xef\xbb\xbf|\xfe\xff|\xff\xfe)?[ \t\r\n\0]*\{")  # in whichever coding of Unicode
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Reading(Struct, frozen=True, gc=False):
    """`model` is "" when the body names none. `error` says why the body is no valid request, "" when it is one.

    `options` are the stream's, as written.
    """

    model: str = ""
    stream: bool = False
    prompt: bytes | memoryview = b""
    options: bytes = b""
    error: str = ""
    param: str | None = None
    status: int = 400


NOTHING = Reading()


class _Usual(Struct, gc=False):
    model: str | None = None
    stream: bool | None = None
    messages: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    stream_options: Raw = Raw()


class _Body(Struct, gc=False):
    """The same, whatever the types are."""

    model: Raw | UnsetType = UNSET
    stream: Raw = Raw()
    messages: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    stream_options: Raw = Raw()


_decode_usual = msgspec.json.Decoder(_Usual).decode
_decode = msgspec.json.Decoder(_Body).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


def read_body(content_type: bytes, body: bytes) -> Reading:
    """Read a body by its content type. One of another kind, that is no object either, says nothing, and is no error."""
    if content_type == b"application/json":
        return _read_json(body)
    kind = _kind(content_type)
    if kind == b"application/json" or kind.endswith(b"+json"):
        return _read_json(body)
    if kind == b"multipart/form-data":
        return _read_form(content_type, body)
    # `curl -d '{…}'` without a header says it is a form, and many servers do not look at the type at all.
    return _read_json(body) if _OBJECT.match(body) else NOTHING


def _kind(content_type: bytes) -> bytes:
    """The media type. Where the header came twice, that of the first, as servers take it."""
    return content_type.partition(b";")[0].partition(b",")[0].strip().lower()


def _read_json(body: bytes) -> Reading:
    if len(body) >= LARGE and (reading := _read_large(body)) is not None:
        return reading
    try:
        found = _decode_usual(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_unusual(body)
    model, messages = found.model or "", found.messages
    if not model.isprintable() or len(model) > _LONGEST_NAME:
        wrong = _wrong_name(model)
        if wrong is not None:
            return wrong
    prompt = memoryview(messages) if messages is not UNSET else _prompt(found)
    if not found.stream:
        return Reading(model, False, prompt)
    return Reading(model, True, prompt, bytes(found.stream_options))


def _read_large(body: bytes) -> Reading | None:
    """The same, without a look into long strings; None where that does not do."""
    short = shorten(body)
    if not short.cuts:
        return None
    try:
        found = _decode_usual(short.text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    model = found.model
    if not model or _wrong_name(model) or MARK.search(found.stream_options):
        return None
    prompt = _prompt(found)
    if (span := short.span(bytes(prompt))) is not None:
        prompt = memoryview(body)[slice(*span)]
    return Reading(model, found.stream is True, prompt, bytes(found.stream_options) if found.stream else b"")


def _read_unusual(body: bytes) -> Reading:
    """A body that is wrong, or has something else where a name is expected."""
    try:
        found = _decode(body)
    except msgspec.ValidationError:
        return Reading(error="the body must be a JSON object")
    except msgspec.DecodeError as error:
        return Reading(error=f"the body is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}")
    except RecursionError:
        return Reading(error="the body's JSON is nested too deeply")
    model = ""
    raw = found.model
    if raw is not UNSET and bytes(raw) != b"null":
        try:
            model = _decode_text(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Reading(error="model must be a string, the name of a model", param="model")
    return _wrong_name(model) or Reading(model, _streams(found.stream), _prompt(found), bytes(found.stream_options))


def _streams(written: Raw) -> bool:
    try:
        return truth(_decode_any(written)) is True if bytes(written) else False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _prompt(found: _Usual | _Body) -> bytes | memoryview:
    prompt = found.messages
    if prompt is UNSET:
        prompt = found.prompt
        if prompt is UNSET:
            prompt = found.input
            if prompt is UNSET:
                return b""
    return memoryview(prompt)


def _read_form(content_type: bytes, body: bytes) -> Reading:
    place = find_model(content_type, body)
    if place.error or place.start < 0:
        return Reading(error=place.error)
    try:
        model = body[place.start : place.end].decode()
    except UnicodeDecodeError:
        return Reading(error="model must be UTF-8 text, the name of a model", param="model")
    return _wrong_name(model) or Reading(model)


def _wrong_name(model: str) -> Reading | None:
    """A line end in a name would end a header: whoever sends one tries to write headers of his own."""
    if len(model) > _LONGEST_NAME:
        return Reading(error=f"model must have at most {_LONGEST_NAME} characters", param="model")
    if not model.isprintable() and _CONTROL.search(model):
        return Reading(error="model must have no control characters", param="model")
    return None


def with_model(content_type: bytes, body: bytes, model: str) -> bytes | None:
    """The same body, naming another model; all other values stay as they are, byte for byte.

    None for JSON with a key that is not UTF-8: the walk that found the model skips keys without reading them.
    """
    if _kind(content_type) == b"multipart/form-data":
        place = find_model(content_type, body)
        return body[: place.start] + model.encode() + body[place.end :]
    try:
        members = _decode_members(body)
    except UnicodeDecodeError:
        return None
    members["model"] = Raw(_encode(model))
    return _encode(members)
