"""CORS: who may read answers, what a preflight is told, what an answer is given."""

import json

import pytest

from headgate.exchange.cors import allows, preflight, share
from headgate.plan.plan import Cors


def headers(pairs) -> dict[str, str]:
    """Of an answer; what came twice is joined."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode()
        found[key] = f"{found[key]}, {value.decode()}" if key in found else value.decode()
    return found


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        ("https://a.com", "https://a.com", True),
        ("https://a.com", "https://A.com:443", True),
        ("https://a.com", "https://a.com:8443", False),
        ("https://a.com", "http://a.com", False),
        ("https://a.com", "https://xa.com", False),
        ("http://a.com:3000", "http://a.com:3000", True),
        ("http://a.com", "http://a.com:80", True),
        ("http://a.com", "http://a.com:443", False),
        ("https://*.a.com", "https://b.a.com", True),
        ("https://*.a.com", "https://c.b.a.com", True),
        ("https://*.a.com", "https://a.com", False),
        ("https://*.a.com", "https://.a.com", False),
        ("https://*.a.com", "https://evil.org/.a.com", False),
        ("https://*.a.com", "https://user@b.a.com", False),
        ("https://*.a.com:8443", "https://b.a.com:8443", True),
        ("https://*.a.com:8443", "https://b.a.com", False),
        ("https://*", "https://any.org", True),
        ("https://*", "https://[::1]", True),
        ("https://*", "https://any.org:8443", False),
        ("https://*", "http://any.org", False),
        ("*", "null", True),
        ("https://*", "null", False),
    ],
)
def test_origins_are_compared_by_scheme_host_and_port(allowed, origin, is_allowed):
    assert allows(Cors((allowed,)), origin.encode()) is is_allowed


def test_a_filter_that_names_no_origin_allows_none():
    assert not allows(Cors(), b"https://a.com")


FULL = Cors(("https://a.com",), True, ("GET", "POST"), ("X-A", "X-B"), ("X-C",), 600)
ALL = Cors(("*",), False, ("*",), ("*",), ("*",))


def test_a_preflight_is_told_what_the_filter_allows():
    answer = preflight(FULL, b"https://a.com", b"PUT", b"x-z")
    assert (answer.status, answer.body) == (204, b"")
    assert headers(answer.headers) == {
        "access-control-allow-origin": "https://a.com",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "X-A, X-B",
        "access-control-expose-headers": "X-C",
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


def test_a_preflight_of_another_origin_is_refused_and_told_nothing_else():
    answer = preflight(FULL, b"https://b.com", b"GET", b"")
    assert answer.status == 403
    assert "https://b.com" in json.loads(answer.body)["error"]["message"]
    assert not [name for name, _ in answer.headers if name.startswith(b"access-control")]


def test_a_wildcard_is_sent_as_it_is_where_no_credentials_are():
    told = headers(preflight(ALL, b"https://a.com", b"PUT", b"x-z").headers)
    assert told["access-control-allow-origin"] == "*"
    assert told["access-control-allow-methods"] == "*"
    assert told["access-control-allow-headers"] == "*"
    assert told["access-control-expose-headers"] == "*"
    assert "access-control-allow-credentials" not in told


def test_with_credentials_a_wildcard_is_what_was_asked_for():
    secret = Cors(("*",), True, ("*",), ("*",), ("*",))
    told = headers(preflight(secret, b"https://a.com", b"PUT", b"x-y, x-z").headers)
    assert told["access-control-allow-origin"] == "https://a.com"
    assert told["access-control-allow-methods"] == "PUT"
    assert told["access-control-allow-headers"] == "x-y, x-z"
    assert "access-control-expose-headers" not in told
    assert "*" not in told.values()


def test_a_wildcard_answers_only_headers_that_were_asked_for():
    assert "access-control-allow-headers" not in headers(preflight(ALL, b"https://a.com", b"PUT", b"").headers)
    assert "access-control-allow-headers" in headers(preflight(FULL, b"https://a.com", b"PUT", b"").headers)


def test_an_answer_says_who_may_read_it_whatever_the_server_said():
    sent = [(b"content-type", b"text/plain"), (b"access-control-allow-origin", b"*"), (b"vary", b"Accept")]
    assert headers(share(FULL, b"https://a.com", sent)) == {
        "content-type": "text/plain",
        "vary": "Accept, Origin",
        "access-control-allow-origin": "https://a.com",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-C",
    }
    for other in (b"https://b.com", b""):
        assert headers(share(FULL, other, sent)) == {"content-type": "text/plain", "vary": "Accept, Origin"}


def test_an_answer_for_all_pages_does_not_vary():
    told = headers(share(ALL, b"https://a.com", []))
    assert told == {"access-control-allow-origin": "*", "access-control-expose-headers": "*"}


def test_with_credentials_all_headers_are_those_that_are_there():
    secret = Cors(("*",), True, exposed=("*",))
    told = headers(share(secret, b"https://a.com", [(b"x-a", b"1"), (b"content-type", b"x"), (b"x-b", b"2")]))
    assert told["access-control-expose-headers"] == "x-a, x-b"
