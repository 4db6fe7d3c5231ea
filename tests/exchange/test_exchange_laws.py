"""Laws of every exchange, whatever happens in whatever order: one final answer, an end, and never an exception."""

from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import JSON, STREAM, Play, pairs, serving, to

from headgate.exchange.events import (
    Abort,
    Asked,
    Command,
    Cut,
    Decode,
    Decoded,
    Forward,
    Relay,
    Reply,
    Respond,
    Send,
    Wait,
)
from headgate.exchange.exchange import Exchange, State
from headgate.exchange.request import read_request
from headgate.plan.plan import Backend, Cors, Match, Mirror, Model, Redirect, Retry, Session, Target, TextMatch

MODELS = {
    "chat": Model("chat", priority=-1, targets=(Target("v1", 3), Target("v2"))),
    "later": Model("later", targets=(Target("not-loaded"),)),
}
POOLS = {
    "llama": serving("v1", "v2", "base", models=MODELS, objectives={"low": -5}),
    "web": serving(kind="service", endpoints=1),
    "empty": serving(endpoints=0),
    "young": serving(endpoints=1),
}
ROUTES = (
    to(None, match=Match("/redirect"), redirect=Redirect(hostname="x.example")),
    to("web", "/web", backend_timeout_s=3.0),
    to("empty", "/empty"),
    to("young", "/young", timeout_s=4.0),
    to("gone", "/gone"),
    to(
        "llama",
        "/full",
        cors=Cors(("https://a.example", "http://*.b.example"), True, ("GET",), ("*",), ("*",)),
        session=Session("ns/llama/0", "sid", idle_s=1.0),
        retry=Retry((404, 500), backoff_s=0.1),
        mirrors=(Mirror("web"), Mirror("empty"), Mirror("llama", 0.5)),
        timeout_s=9.0,
        backend_timeout_s=3.0,
    ),
    to("llama", "/mixed", backends=(Backend("llama"), Backend("web"), Backend(None))),
    to("llama", match=Match("/v1", headers=(TextMatch("x-gateway-model-name", ".*", "regex"),))),
    to("web", match=Match("/", headers=(TextMatch("x-y", "low"),)), hostnames=("b.example",)),
)
TARGETS = [
    *("/v1/chat/completions", "/v1/models", "/web", "/empty/x", "/young", "/gone", "/mixed", "/full", "/full/x"),
    *("/redirect", "/", "*"),
]
VALUES = st.binary(max_size=8).map(lambda value: bytes(byte for byte in value if byte >= 32 and byte != 127))
BODIES = [
    b"",
    b"{",
    b"[]",
    b'{"model":1}',
    *(b'{"model":"%b","messages":[1]}' % model for model in (b"base", b"chat", b"later", b"nope", b"a\\n")),
]
REQUESTS = st.tuples(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE"]),
    st.sampled_from(TARGETS).map(str.encode) | st.binary(max_size=12),
    st.lists(
        st.tuples(
            st.sampled_from([b"host", b"content-type", b"content-encoding", b"x-request-id", b"connection", b"x-y"])
            | st.sampled_from([b"x-llm-d-inference-objective", b"cookie", b"origin", b"access-control-request-method"]),
            st.sampled_from([b"a.example", b"b.example", b"application/json", b"gzip", b"low", b""])
            | st.sampled_from([b"https://a.example", b"http://x.b.example", b"GET", b"sid=AAAAAAAAAAAAAAAAAAAAAA; sid"])
            | VALUES,
        ),
        max_size=4,
    ),
    st.sampled_from(BODIES) | st.binary(max_size=30),
)
FAILURES = st.sampled_from(["refused", "reset", "timeout", "garbage"])
HEADERS = st.sampled_from([JSON, STREAM, [], [(b"connection", b"x-a"), (b"x-a", b"1")]])
FINAL = (Respond, Reply, Cut, Abort, Send)


def shake(data: st.DataObject, play: Play) -> None:
    """Something happens to the fleet between two events."""
    name = data.draw(st.sampled_from(["", "", "", *POOLS]))
    if name:
        kind = data.draw(st.sampled_from(["gone", "full", "back", "smaller"]))
        if kind == "gone":
            play.views.pop(name, None)
        elif kind == "full" and name in play.views:
            for endpoint in play.views[name].standing.endpoints:
                play.load(endpoint.name, waiting=100)
        else:
            play.pool(name, **{**POOLS[name], **({"endpoints": 1, "models": ("v1",)} if kind == "smaller" else {})})
    play.now += data.draw(st.sampled_from([0.0, 0.1, 2.0]))


def step(data: st.DataObject, play: Play, last: Command) -> Command:
    """The next event: one that can follow what was commanded last."""
    if data.draw(st.integers(0, 19)) == 0:
        return play.leaves()
    if isinstance(last, Decode):
        bodies = st.sampled_from(BODIES).map(Decoded)
        return play.decodes(data.draw(bodies | st.just(Decoded(error="it is none", status=400))))
    if isinstance(last, Forward):
        if data.draw(st.booleans()):
            return play.fails(data.draw(FAILURES))
        status, headers = data.draw(st.sampled_from([200, 204, 404, 500])), data.draw(HEADERS)
        if data.draw(st.booleans()):
            return play.answers_whole(data.draw(st.binary(max_size=20)), status, headers)
        return play.answers(status, headers)
    if isinstance(last, Wait):
        play.now = max(play.now, last.until) if data.draw(st.booleans()) else play.now
        return play.wakes()
    if isinstance(last, Relay):
        if last.edit is not None:
            for chunk in data.draw(st.lists(st.binary(max_size=20), max_size=3)):
                play.chunk(chunk)
        if data.draw(st.booleans()):
            return play.fails(data.draw(st.sampled_from(["reset", "timeout", "garbage"])))
        play.ends()
        return Send(b"")
    raise AssertionError(last)


@settings(max_examples=250, deadline=None)
@given(REQUESTS, st.data())
def test_every_exchange_ends_with_one_answer_and_raises_nothing(request, data):
    method, target, headers, body = request
    play = Play(*ROUTES, **POOLS)
    hosts = [] if any(name == b"host" for name, _ in headers) else [(b"host", b"a.example")]
    command = play.exchange.feed(Asked(read_request(method, target, hosts + headers), body, b"id", b"peer", play.now))
    begun = 0
    for _ in range(2000):
        begun += isinstance(command, Relay | Reply | Respond)
        if isinstance(command, FINAL):
            break
        assert play.exchange.state is not State.DONE
        if isinstance(command, Forward):
            assert begun == 0, "nothing is sent again once an answer has begun"
        shake(data, play)
        command = step(data, play, command)
    else:
        raise AssertionError("it does not end")
    assert begun <= 1
    assert play.exchange.state is State.DONE
    assert play.record.status
    assert play.record.ended_at == play.now
    if isinstance(command, Respond):
        assert b"\r" not in b"".join(name + value for name, value in pairs(command))


@settings(max_examples=200, deadline=None)
@given(st.lists(REQUESTS, min_size=2, max_size=4))
def test_requests_before_it_change_nothing_for_a_request(requests):
    """What a Site remembers of earlier requests is what it would find out again."""

    def first(
        play: Play, exchange: Exchange, request: tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]
    ) -> Command:
        method, target, headers, body = request
        hosts = [] if any(name == b"host" for name, _ in headers) else [(b"host", b"a.example")]
        return exchange.feed(Asked(read_request(method, target, hosts + headers), body, b"id", b"peer", play.now))

    used = Play(*ROUTES, **POOLS)
    for request in [*requests, *requests]:
        fresh = Play(*ROUTES, **POOLS)
        exchange = Exchange(used.site)
        assert first(used, exchange, request) == first(fresh, fresh.exchange, request)
        assert exchange.record == fresh.record
