"""Compressed bodies: decoded in steps, to a bounded size, or refused with a reason."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import CHAT, Play, error, header, read, service, serving, to

from headgate.exchange.events import Decode, Forward
from headgate.exchange.inflate import Inflater

BODY = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'
LIMIT = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODERS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}


def inflate(coding: str, body: bytes, limit: int = LIMIT):
    inflater = Inflater(coding, body, limit)
    while (done := inflater.step()) is None:
        pass
    return done


@given(st.binary(max_size=5000), st.sampled_from(sorted(CODERS)), st.integers(0, 9))
def test_what_was_packed_comes_out(data, coding, level):
    done = inflate(coding, CODERS[coding](data, level))
    assert (done.body, done.error) == (data, "")


def test_deflate_without_its_envelope_is_understood_as_browsers_do():
    assert inflate("deflate", raw_deflate(BODY)).body == BODY


def test_members_of_gzip_follow_each_other():
    assert inflate("gzip", gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")).body == b"one two"


@pytest.mark.parametrize(
    ("coding", "body", "why"),
    [
        ("gzip", gzip.compress(BODY)[:-1], "it is cut short"),
        ("gzip", gzip.compress(BODY)[:5], "it is cut short"),
        ("deflate", zlib.compress(BODY)[:-1], "it is cut short"),
        ("gzip", BODY, "incorrect header check"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0", "it is cut short"),
        ("gzip", gzip.compress(BODY)[:-8] + b"\0" * 8, "incorrect data check"),
        ("deflate", zlib.compress(BODY)[:-4] + b"\0" * 4, "incorrect data check"),
        ("deflate", b"\xff" * 20, "invalid block type"),
        ("gzip", gzip.compress(BODY) + b"more", "incorrect header check"),
        ("deflate", zlib.compress(BODY) + b"more", "there is more after its end"),
        ("gzip", gzip.compress(b"") * 101, "it has more than 100 members"),
    ],
)
def test_what_was_not_packed_is_refused(coding, body, why):
    done = inflate(coding, body)
    assert (done.status, done.body) == (400, b"")
    assert done.error == f"the body is not valid {coding}: {why}"


@given(st.binary(min_size=1, max_size=300), st.sampled_from(sorted(CODERS)))
def test_any_bytes_end_in_a_body_or_a_reason(data, coding):
    done = inflate(coding, data)
    assert (done.error == "") == (done.status == 0)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_may_have_as_many_bytes_decoded_as_any_other(coding):
    packed = CODERS[coding](bytes(range(256)) * 40)
    assert len(inflate(coding, packed, 10_240).body) == 10_240
    done = inflate(coding, packed, 10_239)
    assert (done.status, done.error) == (413, "the decoded body is larger than 10239 bytes")


def test_a_bomb_is_refused_when_it_is_seen_to_be_one():
    bomb = gzip.compress(b"\0" * (64 << 20))
    inflater, steps = Inflater("gzip", bomb, 64 << 20), 0
    while (done := inflater.step()) is None:
        steps += 1
        assert inflater.size <= 8 << 20
    assert (done.status, done.body) == (413, b"")
    assert done.error == "the decoded body is more than 100 times as large as what came"
    assert steps > 4, "each step is a small one"


def test_a_small_body_may_be_packed_as_well_as_it_can_be():
    prompt = b'{"model":"m","prompt":"' + b"x" * 1_000_000 + b'"}'
    assert inflate("gzip", gzip.compress(prompt)).body == prompt


def test_a_step_is_short_however_much_there_is():
    noise = bytes(range(256)) * 4096 * 8
    inflater = Inflater("gzip", gzip.compress(noise, 0), 64 << 20)
    last = 0
    while (done := inflater.step()) is None:
        assert inflater.size - last <= 512 << 10
        last = inflater.size
    assert done.body == noise


# In an exchange.


def asked(play: Play, coding: str, body: bytes = BODY, **more):
    return play.ask(body=CODERS.get(coding, lambda data: data)(body), headers={"content-encoding": coding}, **more)


def decoded(play: Play, command):
    assert isinstance(command, Decode), command
    return play.decodes(inflate(command.coding, command.body))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip", "GZip"])
def test_a_model_server_gets_the_body_as_it_was_before_it_was_packed(coding):
    play = Play(to("p", model="m"), p=serving("m"))
    pack = CODERS[coding.lower()]
    forward = decoded(play, play.ask(body=pack(BODY), headers={"content-encoding": coding}))
    assert isinstance(forward, Forward)
    line = read(forward)
    assert forward.body == BODY
    assert "content-encoding" not in line.headers
    assert (line.headers["content-length"], line.headers["content-type"]) == (str(len(BODY)), "application/json")
    assert line.headers["x-gateway-model-name"] == "m"
    assert play.record.bytes_in == len(pack(BODY))


def test_a_service_gets_the_body_as_it_came():
    play = Play(to("p"), p=service())
    forward = asked(play, "gzip")
    assert isinstance(forward, Forward), "nothing had to be read"
    assert forward.body == CODERS["gzip"](BODY)
    assert read(forward).headers["content-encoding"] == "gzip"
    assert isinstance(asked(Play(to("p"), p=service()), "br"), Forward)
    assert isinstance(asked(Play(to("p"), p=service()), "gzip, br"), Forward)


def test_a_service_that_shares_its_path_with_models_gets_the_body_as_it_came_too():
    routes = to("llama", model="m"), to("web")
    play = Play(*routes, llama=serving("m"), web=service())
    forward = decoded(play, asked(play, "gzip", b'{"model":"other"}'))
    assert play.record.pool == "web"
    assert forward.body == CODERS["gzip"](b'{"model":"other"}')
    assert read(forward).headers["content-encoding"] == "gzip"
    bad = Play(*routes, llama=serving("m"), web=service())
    assert isinstance(decoded(bad, bad.ask(body=b"\x1f\x8b\x08", headers={"content-encoding": "gzip"})), Forward)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip, identity", "compress", "gzip;q=1"])
def test_codings_that_are_not_undone_here_are_refused_with_those_that_are(coding):
    answer = Play(to("p"), p=serving("m")).ask(body=b"\0", headers={"content-encoding": coding})
    message = f"A body in Content-Encoding {coding} can't be read here: send it as gzip, as deflate, or as it is."
    assert error(answer, 415)["message"] == message
    assert header(answer, "accept-encoding") == "gzip, deflate"


def test_two_lines_are_one_list():
    headers = [("content-encoding", "gzip"), ("content-encoding", "gzip")]
    error(Play(to("p"), p=serving("m")).ask(body=b"\0", headers=headers), 415)


def test_identity_is_no_coding():
    forward = Play(to("p"), p=serving("m")).ask(body=BODY, headers={"content-encoding": "Identity"})
    assert forward.body == BODY


def test_a_coding_without_a_body_is_nothing_to_undo():
    play = Play(to("p"), p=serving())
    assert isinstance(play.ask("GET /health", headers={"content-encoding": "zstd"}), Forward)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [(b"\x1f\x8b\x08", 400, 400), (gzip.compress(b"\0" * (LIMIT + 1)), 413, "body_too_large")],
)
def test_what_can_not_be_undone_is_told_why(body, status, code):
    play = Play(to("p", model="m"), p=serving("m"))
    problem = error(decoded(play, play.ask(body=body, headers={"content-encoding": "gzip"})), status)
    assert problem["code"] == code
    assert "body" in problem["message"]


def test_a_model_is_rewritten_in_the_decoded_body():
    from headgate.plan.plan import Model, Target

    play = Play(to("p"), p=serving("v1", models={"chat": Model("chat", targets=(Target("v1"),))}))
    forward = decoded(play, asked(play, "gzip", b'{"model":"chat","n":1}'))
    assert forward.body == b'{"model":"v1","n":1}'


def test_who_leaves_meanwhile_leaves_nothing():
    play = Play(to("p"), p=serving("m"))
    assert isinstance(asked(play, "gzip"), Decode)
    play.leaves()
    assert (play.record.status, play.record.path) == (499, CHAT)
