"""What is read from bodies: JSON, forms, and what only looks like one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.exchange.body import read_body, with_model

JSON = b"application/json"


def form(*parts: tuple[str, bytes], boundary: str = "xYz") -> bytes:
    """`parts` are (the disposition's parameters, the value)."""
    text = b""
    for parameters, value in parts:
        text += f"--{boundary}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode() + value + b"\r\n"
    return text + f"--{boundary}--\r\n".encode()


MULTIPART = b"multipart/form-data; boundary=xYz"


@pytest.mark.parametrize(
    ("body", "model", "stream", "prompt"),
    [
        (b'{"model":"m","messages":[1, 2]}', "m", False, b"[1, 2]"),
        (b'{"model":"m","prompt":"p","stream":true}', "m", True, b'"p"'),
        (b'{"input":["a"],"model":"m"}', "m", False, b'["a"]'),
        (b'{"model":"a","model":"b"}', "b", False, b""),  # the last one counts, as in the servers
        (b'{"mod\\u0065l":"m"}', "m", False, b""),
        (b'{"model":"\\u00e9\\ud83d\\ude00"}', "é😀", False, b""),
        (b'{"model":null}', "", False, b""),
        (b'{"model":""}', "", False, b""),
        (b"{}", "", False, b""),
        (b'{"model":"m","stream":"true"}', "m", True, b""),  # as in the servers
        (b'{"model":"m","stream":1}', "m", True, b""),
        (b'{"model":"m","stream":"maybe"}', "m", False, b""),
        (b'{"model":"m","n":1e999,"k":99999999999999999999999999}', "m", False, b""),
        (b'{"model":"m","n":' + b"9" * 100_000 + b"}", "m", False, b""),
        (b'{"model":1,"model":"m"}', "m", False, b""),
        (b'{"model":"a","mod\\u0065l":"b"}', "b", False, b""),
        (b'{"inner":{"model":"x"},"model":"m","list":[{"model":"y"}]}', "m", False, b""),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b',"model":"m"}', "m", False, b""),
        (b'{"model":"m","a":"\xff","\xfe":1}', "m", False, b""),
    ],
)
def test_a_json_body_says_model_stream_and_prompt(body, model, stream, prompt):
    reading = read_body(JSON, body)
    assert (reading.model, reading.stream, bytes(reading.prompt), reading.error) == (model, stream, prompt, "")


@pytest.mark.parametrize("kind", [b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/vnd.x+json"])
def test_every_kind_of_json_is_read(kind):
    assert read_body(kind, b'{"model":"m"}').model == "m"


UNTOLD = [b"", b"text/plain", b"application/x-www-form-urlencoded", b"application/octet-stream"]


@pytest.mark.parametrize("kind", UNTOLD)
def test_what_begins_like_an_object_is_read_as_one_whatever_its_type_says(kind):
    """curl says of `-d '{…}'` that it is a form; and many servers do not look at the type."""
    for blank in (b"", b" ", b"\r\n\t" * 1000):
        assert read_body(kind, blank + b'{"model":"m"}').model == "m"
        assert "not valid JSON" in read_body(kind, blank + b'{"model":').error


@pytest.mark.parametrize("kind", UNTOLD)
@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_an_object_in_another_coding_is_no_way_around_the_reading(kind, coding):
    """Python's own parser finds out which coding it is (json.detect_encoding), and so do servers that use it."""
    body = ' {"model":"m"}'.encode(coding)
    assert json.loads(body) == {"model": "m"}
    assert "not valid JSON" in read_body(kind, body).error
    assert "not valid JSON" in read_body(JSON, body).error


@pytest.mark.parametrize("body", [b"model=m", b"", b"   ", b"[1]", b"\0\1\2", b"RIFF{", b"\xff\xd8\xff\xe0{"])
def test_other_bodies_say_nothing(body):
    for kind in UNTOLD:
        reading = read_body(kind, body)
        assert (reading.model, reading.error) == ("", "")


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        (b'{"model":1}', "model must be a string", "model"),
        (b'{"model":["m"]}', "model must be a string", "model"),
        (b'{"model":"\xff"}', "model must be a string", "model"),
        (b'{"model":"a\\r\\nx-evil: 1"}', "no control characters", "model"),
        (b'{"model":"a\\u0000"}', "no control characters", "model"),
        (b'{"model":"a\\u007f"}', "no control characters", "model"),
        (b'{"model":"' + b"m" * 1025 + b'"}', "at most 1024 characters", "model"),
        (b"[1]", "must be a JSON object", None),
        (b"null", "must be a JSON object", None),
        (b'{"model":"m",}', "not valid JSON", None),
        (b'{"model":"m"} x', "not valid JSON", None),
        (b'\xef\xbb\xbf{"model":"m"}', "not valid JSON", None),
        (b'{"model":"m","t":NaN}', "not valid JSON", None),
        (b'{"model":"m","t":-Infinity}', "not valid JSON", None),
        (b'{"model":"a","model":1}', "model must be a string", "model"),
        (b'{"model":"\\ud83d"}', "not valid JSON", None),
        (b"{", "not valid JSON", None),
        (b'{"a":' + b"[" * 200_000, "nested too deeply", None),
    ],
)
def test_a_wrong_json_body_is_told_what_is_wrong(body, error, param):
    reading = read_body(JSON, body)
    assert error in reading.error
    assert reading.param == param
    assert reading.model == ""


@pytest.mark.parametrize(
    "parts",
    [
        [('name="model"', b"m")],
        [("name=model", b"m")],
        [('name="file"; filename="a.wav"', b"\0\xff\r\n--x\r\n"), ('name="model"', b"m")],
        [('name="model"', b"other"), ('name="model"', b"m")],  # the last one, as in the servers
        [('filename="a; name=\\"model\\""; name="file"', b"other"), ('name="model"', b"m")],
        [('name="file"', b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nother'), ('name="model"', b"m")],
    ],
)
def test_the_model_of_a_form_is_found(parts):
    assert read_body(MULTIPART, form(*parts)).model == "m"


def test_a_file_that_looks_like_a_part_is_none():
    inside = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n'
    assert read_body(MULTIPART, form(('name="file"', inside))).model == ""


def test_a_form_has_the_boundary_that_its_type_says():
    body = form(('name="model"', b"other"), boundary="fake") + form(('name="model"', b"m"))
    assert read_body(MULTIPART, body).model == "m"
    assert read_body(b'multipart/form-data; boundary="xYz"; charset=utf-8', body).model == "m"


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        (b"multipart/form-data", form(('name="model"', b"m")), "must name its boundary"),
        (MULTIPART, b"model=m", "it has no boundary"),
        (MULTIPART, b'--xYz\r\nContent-Disposition: form-data; name="model"\r\n\r\nm', "it does not end"),
        (MULTIPART, b"--xYz\r\nX-A: a\r\n" + form(('name="model"', b"m")), "before its headers do"),
        (MULTIPART, form(*[("name=a", b"")] * 1001), "more than 1000 parts"),
        (MULTIPART, form(('name="model"', b"\xff")), "UTF-8"),
        (MULTIPART, form(('name="model"', b"a\r\nb")), "control characters"),
    ],
)
def test_a_wrong_form_is_told_what_is_wrong(kind, body, error):
    assert error in read_body(kind, body).error


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5), NAMES, NAMES, st.booleans())
def test_only_the_model_changes_when_it_is_rewritten(members, asked, served, ascii_only):
    body = json.dumps({**members, "model": asked}, ensure_ascii=ascii_only).encode()
    assert read_body(JSON, body).model == asked
    renamed = with_model(JSON, body, served)
    assert renamed is not None
    assert json.loads(renamed) == {**members, "model": served}


@given(st.binary(max_size=40), NAMES, NAMES)
def test_only_the_model_changes_in_a_form_too(file, asked, served):
    def body(model: str) -> bytes:
        return form(('name="file"; filename="f"', file), ('name="model"', model.encode()), ('name="n"', b"1"))

    assert read_body(MULTIPART, body(asked)).model == asked
    assert with_model(MULTIPART, body(asked), served) == body(served)


def test_of_a_name_that_is_there_twice_the_server_gets_one():
    renamed = with_model(JSON, b'{"model":"a","n":1,"mod\\u0065l":"b"}', "c")
    assert renamed is not None
    assert json.loads(renamed, object_pairs_hook=list) == [("model", "c"), ("n", 1)]


def test_a_body_whose_keys_are_no_text_can_not_be_rewritten():
    body = b'{"\xff":1,"model":"m"}'
    assert read_body(JSON, body).model == "m"
    assert with_model(JSON, body, "n") is None


@given(
    st.sampled_from([JSON, MULTIPART, b"", b"text/plain", b"multipart/form-data; boundary="]), st.binary(max_size=200)
)
def test_any_bytes_can_be_read(kind, body):
    read_body(kind, body)
