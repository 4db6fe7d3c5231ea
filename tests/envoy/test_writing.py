"""What is written by hand is what protobuf reads."""

from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from hypothesis import given
from hypothesis import strategies as st

from headgate.envoy.messages import About, Immediate, Modes, Mutation, Override, Piece, Proceed
from headgate.envoy.reading import read
from headgate.envoy.writing import write

NAMES = st.from_regex(rb"[a-z][a-z-]{0,140}", fullmatch=True)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=5)
MUTATIONS = st.builds(Mutation, HEADERS, st.lists(NAMES, max_size=4))
PHASES = st.sampled_from(["request_headers", "response_headers", "request_body", "response_body"])
OVERRIDES = st.none() | st.builds(Override, st.integers(0, 5), st.integers(0, 5), st.booleans(), st.booleans())
METADATA = st.dictionaries(st.text(max_size=40), st.text(max_size=200), max_size=3)


@given(PHASES, MUTATIONS, st.none() | st.binary(max_size=300), METADATA, st.booleans(), OVERRIDES)
def test_going_on(phase, mutation, body, metadata, reroute, override) -> None:
    read_back = ProcessingResponse.FromString(write(Proceed(phase, mutation, body, metadata, reroute, override)))
    assert read_back.WhichOneof("response") == phase
    common = getattr(read_back, phase).response
    set_here = common.header_mutation.set_headers
    assert [(one.header.key.encode(), one.header.raw_value) for one in set_here] == mutation.set
    names = [name for name, _ in mutation.set]
    for at, one in enumerate(set_here):
        assert one.append_action == (0 if names[at] in names[:at] else 2)
    assert [name.encode() for name in common.header_mutation.remove_headers] == list(mutation.remove)
    assert common.clear_route_cache is reroute
    if body is None:
        assert not common.HasField("body_mutation")
    else:
        assert (common.body_mutation.body, common.body_mutation.clear_body) == (body, not body)
    told = read_back.dynamic_metadata["envoy.lb"] if metadata else {}
    assert dict(told) == metadata
    assert read_back.HasField("mode_override") is (override is not None)
    if override is not None:
        mode = read_back.mode_override
        assert (mode.request_body_mode, mode.response_body_mode) == (override.request, override.response)
        assert mode.response_header_mode == (1 if override.response_headers else 2)
        assert mode.request_trailer_mode == mode.response_trailer_mode == (1 if override.trailers else 2)


@given(st.sampled_from(["request_body", "response_body"]), st.binary(max_size=70_000), st.booleans())
def test_pieces(phase, data, end) -> None:
    streamed = getattr(ProcessingResponse.FromString(write(Piece(phase, data, end))), phase).response.body_mutation
    assert (streamed.streamed_response.body, streamed.streamed_response.end_of_stream) == (data, end)


@given(st.integers(200, 599), HEADERS, st.binary(max_size=300), st.text(max_size=300))
def test_immediate_answers(status, headers, body, details) -> None:
    inner = ProcessingResponse.FromString(write(Immediate(status, headers, body, details))).immediate_response
    assert (inner.status.code, inner.body) == (status, body)
    assert [(one.header.key.encode(), one.header.raw_value) for one in inner.headers.set_headers] == headers
    assert " " not in inner.details


def test_trailers() -> None:
    for phase in ("request_trailers", "response_trailers"):
        assert ProcessingResponse.FromString(write(Proceed(phase))).WhichOneof("response") == phase


def test_what_comes_is_read_with_all_that_it_tells_besides() -> None:
    request = ProcessingRequest()
    for key, value in ((":path", b"/x"), ("x-a", b"\xff1")):
        header = request.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value
    old = request.request_headers.headers.headers.add()
    old.key, old.value = "x-b", "2"
    request.request_headers.end_of_stream = True
    request.protocol_config.request_body_mode = 2
    hint = {"x-gateway-destination-endpoint-subset": ["10.0.0.1:8000", " 10.0.0.2 ", 7]}
    request.metadata_context.filter_metadata["envoy.lb.subset_hint"].update(hint)
    request.attributes["envoy.filters.http.ext_proc"].update({"request.path": "/x"})
    message = read(request.SerializeToString())
    assert message is not None
    assert message.headers == [(b":path", b"/x"), (b"x-a", b"\xff1"), (b"x-b", b"2")]
    assert message.end
    subset = frozenset({"10.0.0.1:8000", "10.0.0.2"})
    assert message.about == About(Modes(2, 0), subset, "", {"request.path": "/x"})


def test_a_subset_may_be_one_text_and_may_be_empty() -> None:
    for told, found in (("1.1.1.1:1, 2.2.2.2:2", {"1.1.1.1:1", "2.2.2.2:2"}), ([], set()), ("", set())):
        request = ProcessingRequest()
        request.request_headers.SetInParent()
        hint = {"x-gateway-destination-endpoint-subset": told}
        request.metadata_context.filter_metadata["envoy.lb.subset_hint"].update(hint)
        message = read(request.SerializeToString())
        assert message is not None
        assert message.about.subset == frozenset(found)


def test_the_served_endpoint_is_told_as_metadata_or_as_an_attribute() -> None:
    request = ProcessingRequest()
    request.response_headers.SetInParent()
    request.metadata_context.filter_metadata["envoy.lb"].update({"x-gateway-destination-endpoint-served": "1.1.1.1:1"})
    message = read(request.SerializeToString())
    assert message is not None
    assert message.about.served == "1.1.1.1:1"
    request = ProcessingRequest()
    request.response_headers.SetInParent()
    request.attributes["envoy.filters.http.ext_proc"].update({"upstream.address": "2.2.2.2:2"})
    message = read(request.SerializeToString())
    assert message is not None
    assert message.about.served == "2.2.2.2:2"
    assert read(b"") is None
