"""Heads that are known: the same bytes are never read differently because others came before."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.exchange.events import Asked, Respond
from headgate.proxy.heads import Heads
from headgate.proxy.plane import Bounds
from headgate.proxy.reader import RequestReader

# Lines that a head may have, right and wrong ones.
LINES = [
    "Host: a.example",
    "host: b.example",
    "Content-Length: 3",
    "content-length: 12",
    "Content-Length: 003",
    "Content-Length:3",
    "Content-Length: ",
    "Content-Length: 3 ",
    "CONTENT-LENGTH: 3",
    "Content-Length: 3, 3",
    "X-Content-Length: 3",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Content-Encoding: gzip",
    "TE: trailers",
    "Forwarded: for=a",
    "Connection: close",
    "Connection: keep-alive",
    "X-A: \t",
    "Content-Type: application/json",
]
REQUESTS = st.tuples(
    st.sampled_from(["GET /", "POST /v1/chat/completions", "HEAD /a?b=c"]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0"]),
    st.lists(st.sampled_from(LINES), max_size=4),
    st.sampled_from([b"", b"abc", b"0\r\n\r\n", b"123456789012", b"3\r\nabc\r\n0\r\n\r\n", b"0\r\nx-a: 1\r\n\r\n"]),
).map(lambda r: "\r\n".join([f"{r[0]} {r[1]}", *r[2], "", ""]).encode() + r[3])


def reader(heads: Heads) -> RequestReader:
    return RequestReader(Bounds(), b"192.0.2.7", lambda: b"id", heads)


def take(it: RequestReader, data: bytes) -> object:
    """What a connection makes of these bytes, between two requests."""
    known = it.whole(data)
    refusal = None
    if known is not None:
        told = [known]
    elif it.in_body:
        told = []
    else:
        refusal = it.feed(data)
        told = list(it.requests)
        it.requests.clear()
    return [seen(asked, keep) for asked, keep in told], refusal, it.in_head, it.in_body, it.expects, it.early


def seen(asked: Asked, keep_alive: bool) -> object:
    head = asked.head
    return (
        {name: getattr(head, name) for name in head.__struct_fields__},
        asked.body,
        asked.trailers,
        asked.id,
        keep_alive,
    )


@settings(max_examples=400, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4), REQUESTS)
def test_what_came_before_changes_no_reading(before, request):
    heads: Heads = Heads()
    for data in before * 3:
        take(reader(heads), data)
    for data in (request, request, request):
        assert take(reader(heads), data) == take(reader(Heads()), data)


@settings(max_examples=300, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=8))
def test_on_one_connection_too(requests):
    heads: Heads = Heads()
    with_memory, without = reader(heads), reader(Heads())
    for data in requests * 2:
        first, second = take(with_memory, data), take(without, data)
        assert first == second
        refused, in_head, in_body, asked = first[1], first[2], first[3], first[0]
        if refused or in_head or in_body or not asked or not asked[-1][-1]:
            break  # the connection is over, or in the middle of a request: no place for another


@settings(max_examples=250, deadline=None)
@given(
    st.binary(max_size=60),
    st.lists(st.integers(0, 200), max_size=4),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"]),
)
def test_a_body_that_comes_in_pieces_behind_a_known_head_is_the_same(body, cuts, behind):
    heads: Heads = Heads()
    for _ in range(2):
        assert reader(heads).feed(post(b"a")) is None
    data = post(body) + behind
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    found = []
    for memory in (heads, Heads()):
        it, told = reader(memory), []
        for piece in [data[a:b] for a, b in pairwise(places)]:
            before = it.busy
            known = None if before else it.whole(piece)
            if known is not None:
                told.append(known)
            elif before or not it.in_body:
                assert it.feed(piece) is None
            told += it.requests
            it.requests.clear()
        found.append([seen(asked, keep) for asked, keep in told])
    assert found[0] == found[1]


def test_a_head_is_known_from_the_third_time_on_whatever_the_bodys_length():
    heads: Heads = Heads()
    for body in (b"a", b"bb"):
        assert reader(heads).whole(post(body)) is None
        assert reader(heads).feed(post(body)) is None
    known = reader(heads).whole(post(b"ccc"))
    assert known is not None
    assert (known[0].body, known[1]) == (b"ccc", True)
    assert reader(heads).whole(post(b"ccc")[:-1]) is None, "not all of it is there"
    assert reader(heads).whole(post(b"ccc") + b"G") is None, "there is more"


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(REQUESTS, st.lists(st.integers(0, 200), max_size=3)), min_size=1, max_size=4), REQUESTS)
def test_what_came_before_in_pieces_changes_no_reading(before, request):
    heads: Heads = Heads()
    for data, cuts in before * 3:
        it, places = reader(heads), sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        for piece in [data[a:b] for a, b in pairwise(places)]:
            if it.feed(piece) is not None:
                break
    for data in (request, request, request):
        assert take(reader(heads), data) == take(reader(Heads()), data)


def test_a_head_is_learnt_of_a_request_in_pieces_if_it_came_in_one():
    heads: Heads = Heads()
    request = post(b"a" * 300_000)
    for _ in range(2):
        it = reader(heads)
        for place in range(0, len(request), 100_000):
            assert it.feed(request[place : place + 100_000]) is None
        assert len(it.requests) == 1
    assert reader(heads).whole(post(b"bb")) is not None


def test_what_is_more_than_its_head_is_never_remembered():
    for lines, rest in (
        (b"Connection: upgrade\r\nUpgrade: websocket\r\n", b""),
        (b"Connection: upgrade\r\nUpgrade: h2c\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\nx-a: 1\r\n\r\n"),
        (b"Expect: 100-continue\r\nContent-Length: 1\r\n", b"a"),
    ):
        heads: Heads = Heads()
        for _ in range(4):
            assert reader(heads).whole(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + rest) is None
            assert reader(heads).feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n" + rest) is None


def test_a_body_over_the_limit_is_refused_of_a_known_head_too():
    heads: Heads = Heads()
    for _ in range(2):
        assert reader(heads).feed(post(b"a")) is None
    small = RequestReader(Bounds(body=8), b"", lambda: b"id", heads)
    assert small.whole(post(b"123456789")) is None
    refusal = small.feed(post(b"123456789"))
    assert isinstance(refusal, Respond)
    assert refusal.status == 413


def test_heads_that_are_all_different_are_not_kept():
    heads: Heads = Heads()
    for number in range(3000):
        learn(heads, number)
    assert heads.find(b"GET /1 HTTP/1.1\r\n\r\n") is None


def test_no_more_than_some_heads_are_kept():
    heads: Heads = Heads()
    for number in range(3000):
        for _ in range(2):
            learn(heads, number)
    kept = sum(heads.find(b"GET /%d HTTP/1.1\r\n\r\n" % number) is not None for number in range(3000))
    assert 0 < kept <= 1024


def learn(heads: Heads, number: int) -> None:
    request = b"GET /%d HTTP/1.1\r\n\r\n" % number
    heads.learn(request, number, len(request))


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
