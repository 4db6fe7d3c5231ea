"""The request target: one path, one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange.target import read_target


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/..", "/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a/%2e%2e/b", "/b"),
        ("/a/%2E./b", "/b"),
        ("/%61dmin", "/admin"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/..%2fb", "/a/..%2Fb"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/%252e%252e/b", "/%252e%252e/b"),
        ("//a//b", "//a//b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a..b/c", "/a..b/c"),
        ("/", "/"),
    ],
)
def test_a_path_has_one_spelling(target, path):
    assert read_target(target.encode()).path == path


@pytest.mark.parametrize(
    ("target", "host", "text"),
    [
        ("http://gw.example/a?b=/../c", "gw.example", "/a?b=/../c"),
        ("https://GW.example:8443", "GW.example:8443", "/"),
        ("http://gw.example?q", "gw.example", "/?q"),
        ("HTTP://[::1]:80/a/../b", "[::1]:80", "/b"),
    ],
)
def test_the_host_of_an_absolute_form_counts(target, host, text):
    found = read_target(target.encode())
    assert (found.host, found.text, found.error) == (host, text, "")


@pytest.mark.parametrize("target", ["/a?b=%zz&c=#", "/a#b", "http://h/a#b", "http://h#b"])
def test_a_fragment_is_refused(target):
    assert "fragment" in read_target(target.encode()).error


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/a%", "hexadecimal"),
        ("/a%2", "hexadecimal"),
        ("/a%zz", "hexadecimal"),
        ("/a%00b", "NUL"),
        ("/a\\..\\b", "backslash"),
        ("ftp://h/a", "begin with a slash"),
        ("example.com:443", "begin with a slash"),
        ("", "begin with a slash"),
        ("http:///a", "name a host"),
        ("http://user:pw@h/a", "no user"),
    ],
)
def test_what_is_no_target_is_refused(target, why):
    assert why in read_target(target.encode()).error


def test_the_query_stays_as_it_is():
    found = read_target(b"/a/../b?x=%2e%2e/../y&z=%zz\\?")
    assert (found.path, found.query, found.text) == ("/b", "x=%2e%2e/../y&z=%zz\\?", "/b?x=%2e%2e/../y&z=%zz\\?")
    assert read_target(b"/a?").text == "/a?"


PATHS = st.lists(st.sampled_from(["/", ".", "..", "a", "%2e", "%2F", "%41", "b.c", "//", "é"]), max_size=12).map(
    lambda parts: ("/" + "".join(parts)).encode("latin-1")
)


@given(PATHS)
def test_the_normal_form_is_its_own_normal_form_and_has_no_dots(raw):
    once = read_target(raw)
    assert not once.error
    assert once.path.startswith("/")
    assert not {".", ".."} & set(once.path.split("/"))
    assert read_target(once.path.encode("latin-1")).path == once.path


@given(st.binary(max_size=300))
def test_any_bytes_are_a_target_or_an_error(raw):
    found = read_target(raw)
    assert found.error or found.asterisk or found.path.startswith("/")
