"""A large body is read without a look into its long strings: it must say the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange import body as reading
from headgate.exchange import shorten as shortening
from headgate.exchange.body import Reading, read_body
from headgate.exchange.shorten import shorten

TEXTS = st.text(st.sampled_from('ab "\\/\n\té😀\x7f0{}[]:,'), max_size=60)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=12,
)
MEMBERS = st.dictionaries(
    st.sampled_from(["model", "messages", "prompt", "input", "stream", "stream_options", "stop", "x"]), VALUES
)


@pytest.fixture(scope="module", autouse=True)
def _everything_is_long():
    """The same as for texts of megabytes, with small ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LARGE", 0)
        patch.setattr(shortening, "_LONG", len("stream_options"))
        patch.setattr(shortening, "_EACH", 8)
        patch.setattr(shortening, "_BACKSLASHES", 6)
        yield


def said(found: Reading) -> Reading:
    return Reading(found.model, found.stream, bytes(found.prompt), found.options, found.error, found.param)


def in_full(text: bytes) -> Reading:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LARGE", 1 << 40)
        return said(read_body(b"application/json", text))


@given(MEMBERS, st.booleans(), st.sampled_from([None, "food-review", "a" * 40, 'quo"ted model', ""]))
def test_a_body_says_the_same_whatever_is_cut(members, escaped, model):
    if model is not None:
        members = {**members, "model": model}
    text = json.dumps(members, ensure_ascii=escaped).encode()
    assert said(read_body(b"application/json", text)) == in_full(text)


@given(MEMBERS, st.data())
def test_what_is_wrong_outside_of_strings_is_seen(members, data):
    text = json.dumps({**members, "model": "m"}).encode()
    at = data.draw(st.integers(0, len(text)))
    text = (
        text[:at] + data.draw(st.sampled_from([b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b""])) + text[at + 1 :]
    )
    found = said(read_body(b"application/json", text))
    whole = in_full(text)
    if whole.error and not found.error:  # a letter of an escape may have gone, inside of a string that was cut
        places = shorten(text).cuts
        assert any(start <= at <= end for start, end in places)
    else:
        assert found == whole


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (b'{"a":"0123456789abcdef","b":1}' + b" " * 60, b'{"a":"\x7f0\x7f","b":1}' + b" " * 60),
        (b'{"a":"01234567abcdefgh\\"8","b":1}' + b" " * 60, b'{"a":"\x7f0\x7f","b":1}' + b" " * 60),
        (
            b'{"a":"01234567abcdefgh\\\\","b":"123456789abcdefgh"}' + b" " * 60,
            b'{"a":"\x7f0\x7f","b":"\x7f1\x7f"}' + b" " * 60,
        ),
        (b'{"a":"without an end' + b" " * 60, b'{"a":"without an end' + b" " * 60),
        (b'{"a":"' + b"\\" * 60 + b'","b":1}', b'{"a":"' + b"\\" * 60 + b'","b":1}'),
        (b'["","0123456789abcdef"]', b'["","0123456789abcdef"]'),  # no looks are left
        (b"", b""),
    ],
)
def test_strings_are_cut_where_they_end(text, short):
    assert shorten(text).text == short


def test_looking_for_quotes_is_bounded(monkeypatch):
    monkeypatch.setattr(shortening, "_EACH", 4096)
    text = b'["' + b'","' * 100_000 + b'"]'

    class Counted(bytes):
        looks = 0

        def find(self, *arguments):
            Counted.looks += 1
            return super().find(*arguments)

    assert shorten(Counted(text)).text == text
    assert 0 < Counted.looks <= len(text) // 4096 + 1


def test_marks_that_a_client_writes_lead_nowhere():
    text = json.dumps({"model": "m", "x": "long enough to be cut", "messages": ["\x7f0\x7f", "\x7f9\x7f"]}).encode()
    text += b" " * 200
    assert read_body(b"application/json", text).model == "m"
    assert len(read_body(b"application/json", text).prompt) <= len(text)
