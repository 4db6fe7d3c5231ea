"""Messages → protobuf: `write`. By hand, for they are few and small: 2 µs, where building them field by field takes 7.

A field is its tag (number × 8 + 2), its length and its bytes; numbers are those of envoy.service.ext_proc.v3.
"""

from collections.abc import Callable, Mapping
from typing import Any

from headgate.envoy.hints import NAMESPACE
from headgate.envoy.messages import Answer, Immediate, Mutation, Override, Phase, Piece, Proceed

_TAGS: Mapping[Phase, bytes] = {  # of ProcessingResponse
    "request_headers": b"\x0a",
    "response_headers": b"\x12",
    "request_body": b"\x1a",
    "response_body": b"\x22",
    "request_trailers": b"\x2a",
    "response_trailers": b"\x32",
}
_IMMEDIATE, _METADATA, _OVERRIDE = b"\x3a", b"\x42", b"\x4a"
_RESPONSE = b"\x0a"  # of HeadersResponse and BodyResponse
_HEADERS, _BODY, _REROUTE = b"\x12", b"\x1a", b"\x28\x01"  # of CommonResponse
_SET, _REMOVE = b"\x0a", b"\x12"  # of HeaderMutation
_OPTION, _OVERWRITE, _APPEND = b"\x0a", b"\x18\x02", b"\x18\x00"  # of HeaderValueOption
_KEY, _VALUE = b"\x0a", b"\x1a"  # of HeaderValue: the value as bytes
_WHOLE, _CLEAR, _STREAMED = b"\x0a", b"\x10\x01", b"\x1a"  # of BodyMutation
_DATA, _END = b"\x0a", b"\x10\x01"  # of StreamedBodyResponse
_SMALL = [b"%c" % size for size in range(128)]


def write(answer: Answer) -> bytes:
    """A ProcessingResponse."""
    return _WRITE[type(answer)](answer)


def _size(size: int) -> bytes:
    if size < 128:
        return _SMALL[size]
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_SMALL[size] if size < 128 else _size(size)) + data


def _proceed(answer: Proceed) -> bytes:
    phase, mutation = answer.phase, answer.mutation
    changed = _mutation(mutation) if mutation.set or mutation.remove else b""
    if phase in ("request_trailers", "response_trailers"):
        return _field(_TAGS[phase], _field(_OPTION, changed) if changed else b"")
    common = _field(_HEADERS, changed) if changed else b""
    body = answer.body
    if body is not None:
        common += _field(_BODY, _field(_WHOLE, body) if body else _CLEAR)
    if answer.reroute:
        common += _REROUTE
    written = _field(_TAGS[phase], _field(_RESPONSE, common))
    if answer.metadata:
        written += _field(_METADATA, _metadata(answer.metadata))
    if answer.override is not None:
        written += _field(_OVERRIDE, _mode(answer.override))
    return written


def _mutation(mutation: Mutation) -> bytes:
    """What is set twice is a list: the second one is added."""
    parts = []
    seen: set[bytes] = set()
    for name, value in mutation.set:
        header = _field(_KEY, name) + _field(_VALUE, value)
        parts.append(_field(_SET, _field(_OPTION, header) + (_APPEND if name in seen else _OVERWRITE)))
        seen.add(name)
    for name in mutation.remove:
        parts.append(_field(_REMOVE, name))
    return b"".join(parts)


def _metadata(metadata: Mapping[str, str]) -> bytes:
    """google.protobuf.Struct: one member, which is a Struct itself."""
    return _struct({NAMESPACE: _field(b"\x2a", _struct({key: _text(text) for key, text in metadata.items()}))})


def _struct(members: Mapping[str, bytes]) -> bytes:
    """A map's entries have the key as field 1 and the value as field 2."""
    return b"".join(
        [_field(b"\x0a", _field(b"\x0a", key.encode()) + _field(b"\x12", value)) for key, value in members.items()]
    )


def _text(text: str) -> bytes:
    return _field(b"\x1a", text.encode())


def _mode(override: Override) -> bytes:
    """ProcessingMode: heads and trailers are 1 for SEND and 2 for SKIP."""
    head, trailers = 1 if override.response_headers else 2, 1 if override.trailers else 2
    values = (1, head, override.request, override.response, trailers, trailers)
    return b"".join([b"%c%c" % (number << 3, value) for number, value in enumerate(values, 1)])


def _piece(answer: Piece) -> bytes:
    streamed = (_field(_DATA, answer.data) if answer.data else b"") + (_END if answer.end else b"")
    return _field(_TAGS[answer.phase], _field(_RESPONSE, _field(_BODY, _field(_STREAMED, streamed))))


def _immediate(answer: Immediate) -> bytes:
    inner = _field(b"\x0a", b"\x08" + _size(answer.status))
    if answer.headers:
        inner += _field(b"\x12", _mutation(Mutation(answer.headers)))
    inner += _field(b"\x1a", answer.body)
    if answer.details:
        # Envoy writes it into its own log, as one word.
        inner += _field(b"\x2a", "_".join(answer.details.split())[:200].encode())
    return _field(_IMMEDIATE, inner)


_WRITE: Mapping[type[Answer], Callable[[Any], bytes]] = {Proceed: _proceed, Piece: _piece, Immediate: _immediate}
