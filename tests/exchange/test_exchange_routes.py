"""What else routes do on the way: mirrors, sessions, pages from elsewhere, filters of one backend."""

import json

import pytest
from playbook import CHAT, Play, endpoint, error, header, read, service, serving, to

from headgate.exchange.events import Forward, Relay, Respond
from headgate.exchange.exchange import Exchange
from headgate.exchange.session import Token, digest, write
from headgate.plan.plan import (
    Backend,
    Cors,
    HeaderEdit,
    Match,
    Mirror,
    Redirect,
    Rewrite,
    Route,
    Session,
    TextMatch,
)


def again(play: Play) -> Play:
    """Another request to the same gateway."""
    play.exchange = Exchange(play.site)
    return play


# Mirrors.


def test_a_mirror_gets_what_the_server_gets():
    play = Play(to("p", mirrors=(Mirror("m"),)), p=service(), m=service())
    forward = play.ask("POST /x", body=b"{}")
    assert [mirror.name.split("-")[0] for mirror in forward.mirrors] == ["ns/m"]


def test_a_request_is_mirrored_once_however_often_it_is_tried():
    play = Play(to("p", mirrors=(Mirror("m"),)), p=service(), m=service())
    assert len(play.ask("GET /x").mirrors) == 1
    assert play.fails("reset").mirrors == ()
    play = Play(to("p", mirrors=(Mirror("m"),)), p=service(), m=service())
    assert len(play.ask("GET /x").mirrors) == 1
    assert play.fails("refused").mirrors == ()


def test_a_share_of_the_requests_is_mirrored_by_the_dice():
    play = Play(to("p", mirrors=(Mirror("m", 0.2),)), p=service(endpoints=1), m=service(endpoints=1))
    for number, mirrored in ((0.19, 1), (0.2, 0), (0.0, 1), (0.99, 0)):
        play.dice = [number]
        assert len(again(play).ask("GET /x").mirrors) == mirrored


def test_a_mirror_that_is_not_there_or_not_ready_is_no_trouble():
    play = Play(to("p", mirrors=(Mirror("gone"), Mirror("m"))), p=service(), m=service(endpoints=0))
    assert play.ask("GET /x").mirrors == ()


def test_the_mirrors_of_a_backend_are_for_its_requests():
    backends = (Backend("a", mirrors=(Mirror("m"),)), Backend("b"))
    play = Play(to("a", backends=backends), a=service(endpoints=1), b=service(endpoints=1), m=service(endpoints=1))
    for number, mirrored in ((0.1, 1), (0.9, 0)):
        play.dice = [number]
        assert len(again(play).ask("GET /x").mirrors) == mirrored


def test_a_mirror_that_serves_the_model_is_found_by_it():
    play = Play(to("p", mirrors=(Mirror("m"), Mirror("other"))), p=serving("x"), m=serving("x"), other=serving("y"))
    assert [one.name.split("-")[0] for one in play.ask(model="x").mirrors] == ["ns/m"]


# Sessions.

SESSION = Session("ns/r/0", "sid")


def sid(command) -> str:
    cookie = header(command, "set-cookie")
    assert cookie is not None
    name, _, rest = cookie.partition("=")
    assert name == "sid"
    return rest.partition(";")[0]


def pinned(*, endpoints: int = 5, session: Session = SESSION, **more) -> Play:
    return Play(to("p", session=session, **more), p=service(endpoints=endpoints))


def test_a_session_stays_with_its_endpoint_whatever_the_load():
    play = pinned()
    first = endpoint(play.ask("GET /x"))
    token = sid(play.answers())
    for _ in range(3):
        play.ledger.take(first)
        assert endpoint(again(play).ask("GET /x", headers={"cookie": f"a=b; sid={token}"})) == first
        assert header(play.answers(), "set-cookie") is None, "the client has its token already"
    assert endpoint(again(play).ask("GET /x")) != first


def test_every_gateway_reads_the_tokens_of_every_other():
    play, other = pinned(), pinned()
    play.dice = [0.7]
    first = endpoint(play.ask("GET /x"))
    assert endpoint(other.ask("GET /x", headers={"cookie": f"sid={sid(play.answers())}"})) == first


def test_a_session_whose_endpoint_is_gone_begins_anew_elsewhere():
    play = pinned(endpoints=2)
    play.dice = [0.9]
    assert endpoint(play.ask("GET /x")) == "ns/p-1"
    token = sid(play.answers())
    play.pool("p", **service(endpoints=1))
    assert endpoint(again(play).ask("GET /x", headers={"cookie": f"sid={token}"})) == "ns/p-0"
    assert sid(play.answers()) != token


def test_a_session_whose_endpoint_fails_goes_on_elsewhere():
    play = pinned(endpoints=2)
    first = endpoint(play.ask("GET /x"))
    token = sid(play.answers())
    assert endpoint(again(play).ask("GET /x", headers={"cookie": f"sid={token}"})) == first
    assert endpoint(play.fails("refused")) != first
    assert sid(play.answers()) != token


def test_what_is_no_token_begins_a_session():
    for cookie in ("sid=", "sid=x", "sid=AAAAAAAAAAAAAAAAAAAAAA", "other=1"):
        play = pinned()
        assert isinstance(play.ask("GET /x", headers={"cookie": cookie}), Forward)
        assert sid(play.answers())


def test_the_server_sees_the_cookie_too():
    line = read(pinned().ask("GET /x", headers={"cookie": "a=b; sid=x"}))
    assert line.headers["cookie"] == "a=b; sid=x"


def test_a_session_is_over_when_its_time_is():
    play = pinned(session=Session("ns/r/0", "sid", absolute_s=60.0))
    play.site.epoch = 1_700_000_000.0
    first = endpoint(play.ask("GET /x"))
    token = sid(play.answers())
    for _ in range(2):
        play.ledger.take(first)
    assert endpoint(again(play).after(58).ask("GET /x", headers={"cookie": f"sid={token}"})) == first
    assert endpoint(again(play).after(3).ask("GET /x", headers={"cookie": f"sid={token}"})) != first


def test_a_session_by_header_is_told_in_the_same_header():
    play = pinned(session=Session("ns/r/0", "x-session", header=True))
    first = endpoint(play.ask("GET /x"))
    token = header(play.answers(), "x-session")
    for _ in range(3):
        play.ledger.take(first)
    assert endpoint(again(play).ask("GET /x", headers={"x-session": token})) == first
    assert header(play.answers(), "x-session") is None


def test_a_cookie_for_a_page_that_came_by_https_stays_with_https():
    play = pinned()
    play.site.scheme = b"https"
    play.ask("GET /x")
    assert header(play.answers(), "set-cookie").endswith("; Secure")
    play = pinned()
    play.ask("GET /x")
    assert "Secure" not in header(play.answers(), "set-cookie")


def test_a_session_counts_more_than_weights_also_where_the_weight_is_zero():
    backends = (Backend("a"), Backend("b", 0))
    play = Play(to("a", backends=backends, session=SESSION), a=service(), b=service())
    held = play.views["b"].standing.endpoints[1]
    token = write(Token(digest("ns/r/0", held), 1, 1)).decode()
    assert endpoint(play.ask("GET /x", headers={"cookie": f"sid={token}"})) == "ns/b-1"
    assert endpoint(again(play).ask("GET /x")).startswith("ns/a")


def test_a_session_of_an_adapter_moves_where_the_adapter_is_served():
    play = Play(to("p", session=SESSION), p=serving("x", endpoints=3))
    first = endpoint(play.ask(model="x"))
    token = sid(play.answers())
    play.load(first, models=())
    assert endpoint(again(play).ask(model="x", headers={"cookie": f"sid={token}"})) != first


# Pages from elsewhere.

CORS = Cors(("https://a.com",), methods=("POST",), headers=("authorization",))
ASKS = {"origin": "https://a.com", "access-control-request-method": "POST"}


def test_a_preflight_is_answered_here_and_recorded():
    play = Play(to("p", cors=CORS), p=service())
    answer = play.ask(f"OPTIONS {CHAT}", headers=ASKS)
    assert (answer.status, header(answer, "access-control-allow-methods")) == (204, "POST")
    assert header(answer, "x-request-id") == "id-1"
    assert (play.record.route, play.record.status) == ("ns/p/0/0", 204)


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "https://a.com"}, {"access-control-request-method": "POST"}], ids=str
)
def test_options_that_are_no_preflight_go_to_the_server(headers):
    play = Play(to("p", cors=CORS), p=service())
    for _ in range(2):
        assert isinstance(again(play).ask("OPTIONS /x", headers=headers), Forward)
    assert isinstance(again(play).ask("OPTIONS /x", headers=ASKS), Respond), "what went before changes nothing"


def test_a_preflight_without_a_filter_is_for_the_server():
    assert isinstance(Play(to("p"), p=service()).ask("OPTIONS /x", headers=ASKS), Forward)


def test_a_preflight_says_no_headers_and_no_model_so_routes_that_want_them_could_take_it():
    blue = to("blue", model="sky", cors=CORS)
    play = Play(blue, to("rest", "/rest"), blue=serving("sky"), rest=service())
    assert play.ask(f"OPTIONS {CHAT}", headers=ASKS).status == 204
    by_method = to("p", match=Match("/", method="POST", headers=(TextMatch("x-a", "b"),)), cors=CORS)
    assert Play(by_method, p=service()).ask("OPTIONS /x", headers=ASKS).status == 204
    error(Play(by_method, p=service()).ask("OPTIONS /x", headers={**ASKS, "access-control-request-method": "GET"}), 404)


def test_a_route_before_that_takes_the_path_for_certain_keeps_its_own_answer():
    play = Play(to("own", "/own"), to("p", cors=CORS), own=service(), p=service())
    assert isinstance(play.ask("OPTIONS /own/x", headers=ASKS), Forward)
    assert isinstance(again(play).ask("OPTIONS /x", headers=ASKS), Respond)


def test_an_answer_is_shared_with_the_page_that_may_read_it():
    play = Play(to("p", cors=CORS), p=service())
    for origin, shared in (("https://a.com", "https://a.com"), ("https://b.com", None), (None, None)):
        again(play).ask("POST /x", headers={"origin": origin} if origin else {})
        relay = play.answers(200, [(b"access-control-allow-origin", b"*"), (b"content-length", b"2")])
        assert header(relay, "access-control-allow-origin") == shared
        assert header(relay, "vary") == "Origin"


def test_refusals_can_be_read_by_the_page_too():
    play = Play(to("p", cors=CORS), p=serving("m"))
    for body, status in ((b"{", 400), (b'{"model":"x"}', 404)):
        answer = again(play).ask(body=body, headers={"origin": "https://a.com"})
        error(answer, status)
        assert header(answer, "access-control-allow-origin") == "https://a.com"
    again(play).ask(model="m", headers={"origin": "https://a.com"})
    late = play.fails("timeout")
    error(late, 504)
    assert header(late, "access-control-allow-origin") == "https://a.com"


def test_so_can_the_list_of_models_redirects_and_what_no_route_takes():
    moved = to(None, "/moved", cors=CORS, redirect=Redirect(full="/x"))
    play = Play(moved, to("p", model="m", cors=CORS), p=serving("m"))
    page = {"origin": "https://a.com"}
    for line, status in (("GET /v1/models", 200), ("GET /moved", 302), ("POST /x", 404)):
        answer = again(play).ask(line, headers=page)
        assert (answer.status, header(answer, "access-control-allow-origin")) == (status, "https://a.com")
        assert header(again(play).ask(line), "access-control-allow-origin") is None


def test_the_filter_of_a_backend_is_for_its_answers():
    backends = (Backend("a", cors=CORS), Backend("b"))
    play = Play(to("a", backends=backends), a=service(endpoints=1), b=service(endpoints=1))
    for number, shared in ((0.1, "https://a.com"), (0.9, None)):
        play.dice = [number]
        again(play).ask("GET /x", headers={"origin": "https://a.com"})
        assert header(play.answers(), "access-control-allow-origin") == shared


# Filters of one backend.


def test_a_backend_may_rewrite_what_it_is_asked():
    backend = Backend("p", rewrite=Rewrite(hostname="b.example", prefix="/new"))
    line = read(Play(Route("r", Match("/old"), backends=(backend,)), p=service()).ask("GET /old/x?y"))
    assert (line.target, line.headers["host"]) == ("/new/x?y", "b.example")


def test_of_two_rewrites_the_backends_counts_in_what_it_names():
    route = to(
        "p",
        "/old",
        rewrite=Rewrite("a.example", "/of-route"),
        backends=(Backend("p", rewrite=Rewrite(prefix="/of-backend")),),
    )
    line = read(Play(route, p=service()).ask("GET /old/x"))
    assert (line.target, line.headers["host"]) == ("/of-backend/x", "a.example")


def test_a_backend_may_redirect_its_share():
    backends = (Backend("a", redirect=Redirect(302, prefix="/new")), Backend("b"))
    play = Play(Route("r", Match("/old"), backends=backends), a=service(endpoints=1), b=service(endpoints=1))
    play.dice = [0.1]
    assert header(play.ask("GET /old/x"), "location") == "http://gw.example/new/x"
    play.dice = [0.9]
    assert endpoint(again(play).ask("GET /old/x")).startswith("ns/b")


# All at once.


def test_a_route_may_do_all_of_it_to_one_request():
    route = to(
        "p",
        "/v1",
        request=HeaderEdit(add=(("x-a", "1"),)),
        response=HeaderEdit(set=(("x-b", "2"),)),
        rewrite=Rewrite(prefix="/v2"),
        mirrors=(Mirror("m"),),
        cors=CORS,
        session=SESSION,
    )
    play = Play(route, p=serving("m"), m=serving("m"))
    forward = play.ask(model="m", headers={"origin": "https://a.com"})
    line = read(forward)
    assert (line.target, line.headers["x-a"], len(forward.mirrors)) == ("/v2/chat/completions", "1", 1)
    assert json.loads(forward.body)["model"] == "m"
    relay = play.answers()
    assert isinstance(relay, Relay)
    assert header(relay, "x-b") == "2"
    assert header(relay, "access-control-allow-origin") == "https://a.com"
    assert sid(relay)
