"""Only who has a key is let in, whatever is asked for; nobody behind the gateway sees the key."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook import CHAT, JSON, Play, error, header, pairs, read, serving, to

from headgate.exchange.events import Asked, Decode, Decoded, Forward, Respond
from headgate.exchange.exchange import Exchange
from headgate.exchange.keys import Gate
from headgate.exchange.request import read_request
from headgate.plan.keys import Keys, keys
from headgate.plan.plan import Cors, Listener, Match, Redirect, Route, TextMatch

KEYS = keys([("alice", b"sk-alice"), ("bob", b"sk-bob"), ("alice", b"sk-alice-2")])
FEW = keys([("carol", b"sk-carol")], ("x-key",), "x-client")


def closed(*routes: Route, ring: str = "gw", model: str = "m", **more: Keys) -> Play:
    """A listener that `ring` opens; its routes say themselves what opens them."""
    listener = Listener("ns/gw", "http", 80, routes=routes, ring=ring, keys={"gw": KEYS, **more})
    return Play(listeners=(listener,), p=serving(model))


def asked(headers: dict[str, str] | list[tuple[str, str]], line: str = f"POST {CHAT}", **more) -> tuple[Play, object]:
    play = closed(to("p", ring="gw"))
    return play, play.ask(line, model="m", headers=headers, **more)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({"authorization": "Bearer sk-alice"}, "alice"),
        ({"authorization": "bearer  sk-bob "}, "bob"),
        ({"authorization": "sk-bob"}, "bob"),
        ({"x-api-key": "sk-alice-2"}, "alice"),
        ({"api-key": "sk-bob"}, "bob"),
        ({"x-api-key": "Bearer sk-bob"}, "bob"),
        ({"authorization": "Bearer of-somebody-else", "x-api-key": "sk-bob"}, "bob"),
        ([("authorization", "Bearer wrong"), ("authorization", "Bearer sk-alice")], "alice"),
    ],
)
def test_who_has_a_key_is_let_in_and_known_by_name(headers, client):
    play, forward = asked(headers)
    assert isinstance(forward, Forward)
    assert play.record.client == client
    assert b"sk-" not in forward.head
    assert not {"authorization", "x-api-key", "api-key"} & set(read(forward).names)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-alic"},
        {"authorization": "Bearer sk-alice2"},
        {"authorization": "Bearer SK-ALICE"},
        {"authorization": "Basic sk-alice"},
        {"authorization": "Bearer alice"},
        {"x-api-key": "sk-alice,sk-bob"},
        {"x-api-key": "\xe9"},
    ],
)
def test_a_wrong_key_is_refused_and_not_repeated(headers):
    play, refusal = asked(headers)
    told = error(refusal, 401)
    assert (told["type"], told["code"]) == ("authentication_error", "invalid_api_key")
    assert header(refusal, "www-authenticate") == "Bearer"
    assert play.record.client == ""
    assert play.record.status == 401
    shown = refusal.body + repr(pairs(refusal)).encode() + repr(play.record).encode()
    assert next(iter(headers.values())).encode() not in shown


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"cookie": "key=sk-alice"}])
def test_without_a_key_it_is_said_how_to_send_one(headers):
    _, refusal = asked(headers)
    told = error(refusal, 401)
    assert told["code"] == "missing_api_key"
    assert "`authorization: Bearer KEY` or `x-api-key: KEY` or `api-key: KEY`" in told["message"]


@pytest.mark.parametrize(
    "line", ["GET /v1/models", "GET /v1/models/unannounced", "GET /nowhere", "GET /", "OPTIONS /v1/models", "GET /away"]
)
def test_nothing_is_told_to_who_has_no_key(line):
    """Neither the models, nor which paths there are, nor where a redirect leads."""
    routes = (
        to("p", "/v1", ring="gw"),
        to(None, match=Match("/away"), redirect=Redirect(hostname="x.example"), ring="gw"),
    )
    refusal = closed(*routes, model="unannounced").ask(line)
    assert error(refusal, 401)
    assert b"unannounced" not in refusal.body
    assert header(refusal, "location") is None
    allowed = closed(*routes, model="unannounced").ask(line, headers={"x-api-key": "sk-bob"})
    assert isinstance(allowed, Forward) or allowed.status in (200, 302, 404)


def test_a_body_that_is_none_is_not_looked_at_before_the_key():
    _, refusal = asked({}, body=b"{broken")
    assert error(refusal, 401)


def test_a_route_may_have_keys_of_its_own():
    play = closed(to("p", "/few", ring="few"), to("p", ring="gw"), few=FEW)
    assert error(play.ask("POST /few", headers={"x-api-key": "sk-alice"}), 401)
    play = closed(to("p", "/few", ring="few"), to("p", ring="gw"), few=FEW)
    forward = play.ask("POST /few", headers={"x-key": "sk-carol", "authorization": "Bearer theirs", "x-client": "eve"})
    line = read(forward)
    assert line.headers["x-client"] == play.record.client == "carol"
    assert line.names.count("x-client") == 1
    assert "x-key" not in line.headers
    assert line.headers["authorization"] == "Bearer theirs"  # no header for keys here: it is the server's


def test_an_open_route_beside_closed_ones_stays_open():
    assert isinstance(closed(to("p", "/open"), to("p", ring="gw")).ask("POST /open", model="m"), Forward)
    assert error(closed(to("p", "/open"), to("p", ring="gw")).ask("POST /else", model="m"), 401)


def test_other_hosts_ask_for_their_own_keys():
    listeners = (
        Listener("ns/gw", "a", 80, hostname="a.example", routes=(to("p", ring="gw"),), ring="gw", keys={"gw": KEYS}),
        Listener("ns/gw", "b", 80, hostname="*.b.example", routes=(to("p", "/x"),)),
        Listener("ns/gw", "c", 80, routes=(to("p", ring="few"),), ring="few", keys={"few": FEW}),
    )

    def status(host: str, path: str = "/x", **headers: str) -> int:
        answer = Play(listeners=listeners, p=serving("m")).ask(f"POST {path}", model="m", host=host, headers=headers)
        return answer.status if isinstance(answer, Respond) else 200

    key = {"x-api-key": "sk-alice"}
    assert [status("a.example"), status("a.example", **key), status("A.example:80", **key)] == [401, 200, 200]
    assert [status("y.b.example"), status("y.b.example", "/nowhere")] == [200, 404]
    assert [status("z.example"), status("z.example", **key), status("z.example", "/x", **{"x-key": "sk-carol"})] == [
        401,
        401,
        200,
    ]


def test_a_page_may_ask_whether_it_may_ask_without_a_key_and_may_read_why_not():
    cors = Cors(origins=("https://a.example",), methods=("POST",), headers=("authorization",))
    page = {"origin": "https://a.example"}
    play = closed(to("p", ring="gw", cors=cors))
    preflight = play.ask(f"OPTIONS {CHAT}", headers=page | {"access-control-request-method": "POST"})
    assert isinstance(preflight, Respond)
    assert preflight.status == 204
    for _ in range(2):  # the second time by what was remembered of the first
        refusal = Exchange(play.site).feed(_request({**page, "host": "gw"}))
        assert error(refusal, 401)
        assert header(refusal, "access-control-allow-origin") == "https://a.example"


def _request(headers: dict[str, str], body: bytes = b'{"model":"m"}') -> Asked:
    raw = [(name.encode(), value.encode()) for name, value in {"content-type": "application/json", **headers}.items()]
    return Asked(read_request(b"POST", CHAT.encode(), raw), body, b"id-1", b"192.0.2.7")


@given(st.lists(st.sampled_from(["sk-alice", "sk-bob", "sk-eve", ""]), max_size=6))
def test_who_came_before_does_not_matter(sent):
    """Neither does what is remembered of ways let anybody in, nor what is remembered of heads."""
    play = closed(to("p", ring="gw", match=Match("/", headers=(TextMatch("x-gateway-model-name", "m"),))))
    heads = {key: _request({"host": "gw", "authorization": f"Bearer {key}"}) for key in set(sent)}
    for key in [*sent, *sent]:
        exchange = Exchange(play.site)
        command = exchange.feed(heads[key])
        assert isinstance(command, Forward) is (key in ("sk-alice", "sk-bob"))
        assert exchange.record.client == {"sk-alice": "alice", "sk-bob": "bob"}.get(key, "")


def test_a_head_that_comes_again_is_known_and_what_is_remembered_is_bounded():
    gate = Gate(KEYS)
    head = _request({"host": "gw", "authorization": "Bearer sk-bob"}).head
    assert gate.admit(head) is gate.admit(head)
    for number in range(3000):
        gate.admit(_request({"host": f"gw{number}", "authorization": "Bearer sk-bob"}).head)
    assert len(gate._known) <= 1024


def test_nobody_gets_in_by_no_keys():
    none = keys([], ())
    play = closed(to("p", ring="none"), none=none)
    told = error(play.ask(model="m", headers={"authorization": "Bearer ", "x-api-key": ""}), 401)
    assert "nobody is let in" in told["message"]


def test_the_usage_is_on_the_client_s_account():
    play, _ = asked({"authorization": "Bearer sk-bob"})
    play.answers_whole(json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode(), headers=JSON)
    assert (play.record.client, play.record.prompt_tokens, play.record.completion_tokens) == ("bob", 3, 4)


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_compressed_body_is_not_touched_before_the_key(coding):
    play = closed(to("p", "/v1", ring="gw"), to("p", ring="few"), few=FEW)
    squeezed = gzip.compress(b'{"model":"m"}')
    refusal = play.ask(body=squeezed, headers={"content-encoding": coding, "x-api-key": "sk-eve"})
    assert error(refusal, 401)
    assert header(refusal, "accept-encoding") is None
    play = closed(to("p", "/v1", ring="gw"), to("p", ring="few"), few=FEW)
    assert isinstance(play.ask(body=squeezed, headers={"content-encoding": "gzip", "x-api-key": "sk-bob"}), Decode)


def test_a_key_for_another_route_of_the_path_opens_only_that():
    """Which route it is the body says, so that it has to be decoded first."""
    play = closed(to("p", ring="gw", model="m"), to("p", ring="few"), few=FEW)
    squeezed, carol = gzip.compress(b'{"model":"m"}'), {"content-encoding": "gzip", "x-key": "sk-carol"}
    assert isinstance(play.ask(body=squeezed, headers=carol), Decode)
    assert error(play.decodes(Decoded(b'{"model":"m"}')), 401)


def test_a_websocket_needs_a_key_too():
    def switching(key: str) -> Asked:
        raw = [(b"host", b"gw"), (b"authorization", b"Bearer " + key.encode()), (b"sec-websocket-version", b"13")]
        return Asked(read_request(b"GET", b"/v1/realtime", raw, switches=True), b"", b"id-1", b"192.0.2.7")

    play = closed(to("p", ring="gw"))
    assert error(Exchange(play.site).feed(switching("sk-eve")), 401)
    forward = Exchange(play.site).feed(switching("sk-bob"))
    assert isinstance(forward, Forward)
    assert b"sk-bob" not in forward.head
