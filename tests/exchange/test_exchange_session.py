"""Sessions: what a token says, whom it leads to, when it is over, and how it is handed out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange.session import Token, digest, leads_to, presented, read, renewed, told, write
from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import Session

NOW = 1_700_000_000.5
ENDPOINTS = tuple(Endpoint(f"ns/web-{n}", f"10.0.0.{n}", 8000) for n in range(1, 4))
COOKIE = Session("ns/r/0", "sid")
HEADER = Session("ns/r/0", "x-session", header=True)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(mark, began, used):
    token = Token(mark, began, used)
    assert read(write(token)) == token


@given(st.binary(max_size=40))
def test_what_is_no_token_is_none_and_no_error(text):
    token = read(text)
    assert token is None or write(token)[:21] == text.replace(b"+", b"-").replace(b"/", b"_")[:21]


def test_a_token_names_no_address():
    token = write(Token(digest("ns/r/0", ENDPOINTS[0]), 1, 1))
    assert b"10.0.0" not in token
    assert b"web" not in token


def cookie(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"cookie", value.encode()) for value in values]


def token_of(endpoint: Endpoint, session: Session = COOKIE, *, began: int = int(NOW)) -> Token:
    return Token(digest(session.rule, endpoint), began, began)


def test_a_token_is_found_among_other_cookies():
    token = token_of(ENDPOINTS[1])
    text = write(token).decode()
    for sent in (cookie(f"sid={text}"), cookie(f"a=b; sid={text};c=d"), cookie("a=b", f"xsid=1; sid={text}")):
        assert list(presented(COOKIE, sent, NOW)) == [token]
    for sent in (cookie(), cookie("sid="), cookie("sid=x"), cookie(f"SID={text}"), [(b"sid", text.encode())]):
        assert list(presented(COOKIE, sent, NOW)) == []


def test_of_several_cookies_of_one_name_every_one_is_looked_at_but_not_any_number():
    tokens = [token_of(ENDPOINTS[0], began=int(NOW) - n) for n in range(20)]
    sent = cookie("; ".join(f"sid={write(token).decode()}" for token in tokens))
    assert list(presented(COOKIE, sent, NOW)) == tokens[:8]


def test_a_header_carries_the_token_as_it_is():
    token = token_of(ENDPOINTS[0], HEADER)
    assert list(presented(HEADER, [(b"x-session", write(token))], NOW)) == [token]
    assert told(HEADER, token, False) == (b"x-session", write(token))


def test_a_token_leads_to_its_endpoint_while_that_is_the_same_server():
    token = token_of(ENDPOINTS[1])
    assert leads_to(COOKIE, token, ENDPOINTS) == ENDPOINTS[1]
    assert leads_to(COOKIE, token, ENDPOINTS[::2]) is None
    moved = Endpoint("ns/web-2", "10.0.0.9", 8000)
    inherited = Endpoint("ns/web-7", ENDPOINTS[1].address, 8000)
    assert leads_to(COOKIE, token, (moved, inherited)) is None
    assert leads_to(Session("ns/r/1", "sid"), token, ENDPOINTS) is None, "another rule has sessions of its own"


@pytest.mark.parametrize(
    ("session", "began", "used", "lasts"),
    [
        (Session("r", "s"), -1e6, -1e6, True),
        (Session("r", "s", absolute_s=60), -59, 0, True),
        (Session("r", "s", absolute_s=60), -61, 0, False),
        (Session("r", "s", idle_s=10), -1e6, -9, True),
        (Session("r", "s", idle_s=10), -1e6, -11, False),
        (Session("r", "s", absolute_s=60, idle_s=10), -61, -1, False),
    ],
)
def test_a_session_is_over_when_it_has_lasted_or_rested_too_long(session, began, used, lasts):
    token = Token(1, int(NOW + began), int(NOW + used))
    assert bool(list(presented(session, cookie(f"s={write(token).decode()}"), NOW))) is lasts


def test_a_client_gets_a_token_only_where_its_own_is_not_good_enough():
    first, second = ENDPOINTS[:2]
    old = token_of(first, began=int(NOW) - 100)
    assert renewed(COOKIE, None, first, NOW) == token_of(first)
    assert renewed(COOKIE, old, first, NOW) is None
    assert renewed(COOKIE, old, second, NOW) == token_of(second), "a new session, with a server that is there"


def test_a_session_that_may_not_rest_is_told_of_every_request():
    session = Session("ns/r/0", "sid", idle_s=60)
    old = token_of(ENDPOINTS[0], began=int(NOW) - 30)
    assert renewed(session, old, ENDPOINTS[0], NOW) == Token(old.digest, int(NOW) - 30, int(NOW))


def test_a_cookie_is_kept_from_scripts_and_other_sites():
    token = token_of(ENDPOINTS[0])
    text = write(token)
    assert told(COOKIE, token, False) == (b"set-cookie", b"sid=%b; Path=/; HttpOnly; SameSite=Strict" % text)
    assert told(COOKIE, token, True)[1].endswith(b"; Secure")
    permanent = Session("ns/r/0", "sid", path="/v1", permanent=True, absolute_s=3600.0, idle_s=60.0)
    aged = Token(token.digest, int(NOW) - 600, int(NOW))
    assert b"; Path=/v1; Max-Age=3000; " in told(permanent, aged, False)[1]
