"""Protobuf ↔ messages: `read` and `write`.

A head of 14 headers takes 8 µs to read and a body 1 µs, most of it in C (upb).
"""

from collections.abc import Callable, Mapping
from typing import Any

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse

from headgate.envoy import hints
from headgate.envoy.messages import (
    NOTHING,
    About,
    Answer,
    Immediate,
    Message,
    Modes,
    Mutation,
    Override,
    Phase,
    Piece,
    Proceed,
)
from headgate.exchange.events import Headers

_SEND, _SKIP = ProcessingMode.SEND, ProcessingMode.SKIP
_OVERWRITE, _APPEND = 2, 0  # HeaderValueOption.HeaderAppendAction
_BODIES = frozenset({"request_body", "response_body"})
_TRAILERS = frozenset({"request_trailers", "response_trailers"})
_parse = ProcessingRequest.FromString


def read(data: bytes) -> Message | None:
    """None for a message that says nothing we know of. Raises DecodeError for what is no message."""
    request = _parse(data)
    phase: Phase | None = request.WhichOneof("request")
    if phase is None:
        return None
    inner = getattr(request, phase)
    about = _about(request) if _says_more(request) else NOTHING
    if phase in _BODIES:
        return Message(phase, [], inner.body, inner.end_of_stream, about)
    if phase in _TRAILERS:
        return Message(phase, _headers(inner.trailers), end=True, about=about)
    return Message(phase, _headers(inner.headers), end=inner.end_of_stream, about=about)


def _headers(inner: Any) -> Headers:
    """Older proxies put the value into `value`, as text."""
    return [(one.key.encode("latin-1"), one.raw_value or one.value.encode("latin-1")) for one in inner.headers]


def _says_more(request: Any) -> bool:
    return bool(request.HasField("protocol_config") or request.attributes or request.metadata_context.filter_metadata)


def _about(request: Any) -> About:
    modes = None
    if request.HasField("protocol_config"):
        config = request.protocol_config
        modes = Modes(config.request_body_mode, config.response_body_mode)
    subset, served = None, ""
    metadata = request.metadata_context.filter_metadata
    if hints.SUBSET_NAMESPACE in metadata and hints.SUBSET in (hinted := metadata[hints.SUBSET_NAMESPACE]):
        told = hinted[hints.SUBSET]
        subset = hints.subset(told if isinstance(told, str) else list(told) if hasattr(told, "append") else None)
    if hints.NAMESPACE in metadata and hints.SERVED in (told_back := metadata[hints.NAMESPACE]):
        served = str(told_back[hints.SERVED])
    attributes = {
        key: str(value)
        for struct in request.attributes.values()
        for key, value in struct.items()
        if isinstance(value, str | float | bool)
    }
    return About(modes, subset, served or attributes.get("upstream.address", ""), attributes)


def write(answer: Answer) -> bytes:
    response = ProcessingResponse()
    _WRITE[type(answer)](response, answer)
    written: bytes = response.SerializeToString()
    return written


def _proceed(response: Any, answer: Proceed) -> None:
    phase = answer.phase
    inner = getattr(response, phase)
    if phase in _TRAILERS:
        inner.SetInParent()
        _mutate(inner.header_mutation, answer.mutation)
        return
    common = inner.response
    common.SetInParent()
    if answer.mutation.set or answer.mutation.remove:
        _mutate(common.header_mutation, answer.mutation)
    if answer.body is not None:
        if answer.body:
            common.body_mutation.body = answer.body
        else:
            common.body_mutation.clear_body = True
    if answer.reroute:
        common.clear_route_cache = True
    if answer.metadata:
        _tell(response.dynamic_metadata, answer.metadata)
    if answer.override is not None:
        _override(response.mode_override, answer.override)


def _mutate(into: Any, mutation: Mutation) -> None:
    if mutation.remove:
        into.remove_headers.extend([name.decode("latin-1") for name in mutation.remove])
    seen: set[bytes] = set()
    for name, value in mutation.set:
        option = into.set_headers.add()
        option.header.key = name.decode("latin-1")
        option.header.raw_value = value
        option.append_action = _APPEND if name in seen else _OVERWRITE
        seen.add(name)


def _tell(struct: Any, metadata: Mapping[str, str]) -> None:
    fields = struct.fields[hints.NAMESPACE].struct_value.fields
    for key, value in metadata.items():
        fields[key].string_value = value


def _override(into: Any, override: Override) -> None:
    into.request_header_mode = _SEND
    into.response_header_mode = _SEND if override.response_headers else _SKIP
    into.request_body_mode = override.request
    into.response_body_mode = override.response
    into.request_trailer_mode = _SEND if override.trailers else _SKIP
    into.response_trailer_mode = _SEND if override.trailers else _SKIP


def _piece(response: Any, answer: Piece) -> None:
    streamed = getattr(response, answer.phase).response.body_mutation.streamed_response
    streamed.body = answer.data
    streamed.end_of_stream = answer.end


def _immediate(response: Any, answer: Immediate) -> None:
    inner = response.immediate_response
    inner.status.code = answer.status
    if answer.headers:
        _mutate(inner.headers, Mutation(answer.headers))
    inner.body = answer.body
    if answer.details:
        inner.details = "_".join(answer.details.split())[:200]


_WRITE: Mapping[type[Answer], Callable[[Any, Any], None]] = {
    Proceed: _proceed,
    Piece: _piece,
    Immediate: _immediate,
}
