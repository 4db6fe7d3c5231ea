"""Which route takes a request: hosts, precedence, and the headers that come from the body."""

import json

import pytest
from playbook import CHAT, Play, endpoint, error, header, pairs, read, service, serving, to

from headgate.exchange.events import Forward, Respond
from headgate.exchange.exchange import Exchange
from headgate.plan.plan import Backend, Listener, Match, Route, TextMatch


def test_a_request_goes_to_the_pool_of_its_route():
    play = Play(to("llama"), llama=serving("m"))
    forward = play.ask(model="m", headers={"Authorization".lower(): "Bearer x", "accept": "*/*"})
    line = read(forward)
    assert (line.method, line.target) == ("POST", CHAT)
    assert line.headers == {
        "host": "gw.example",
        "content-type": "application/json",
        "authorization": "Bearer x",
        "accept": "*/*",
        "x-gateway-model-name": "m",
        "x-gateway-base-model-name": "m",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-host": "gw.example",
        "x-forwarded-proto": "http",
        "x-request-id": "id-1",
        "content-length": str(len(forward.body)),
    }
    assert json.loads(forward.body)["model"] == "m"


def test_the_first_route_that_matches_wins():
    play = Play(to("chat", "/v1/chat"), to("rest"), chat=service(), rest=service())
    assert play.ask("POST /v1/chat/completions").endpoint.name.startswith("ns/chat")
    play = Play(to("chat", "/v1/chat"), to("rest"), chat=service(), rest=service())
    assert play.ask("POST /v1/chats").endpoint.name.startswith("ns/rest")


@pytest.mark.parametrize(
    ("match", "taken", "left"),
    [
        (Match("/a", "exact"), ["GET /a", "GET /a?x", "GET /b/../a"], ["GET /a/", "GET /a/b", "GET /A"]),
        (Match("/a"), ["GET /a", "GET /a/", "GET /a/b", "GET /a?x=/b"], ["GET /ab", "GET /b/a", "GET /a/../b"]),
        (Match("/caf%c3%a9", "exact"), ["GET /caf%C3%A9", "GET /caf%c3%a9", "GET /%63af%c3%A9"], ["GET /caf"]),
        (Match("/%7ea"), ["GET /~a", "GET /%7Ea/b", "GET /~a/b"], ["GET /a"]),
        (Match("/a/[0-9]+", "regex"), ["GET /a/12"], ["GET /a/", "GET /a/1b", "GET /x/a/1"]),
        (Match("/", method="DELETE"), ["DELETE /x"], ["GET /x"]),
        (Match("/", query=(TextMatch("q", "1"),)), ["GET /?q=1", "GET /?q=1&q=2"], ["GET /", "GET /?q=2&q=1"]),
        (Match("/", query=(TextMatch("q", "[ab]+", "regex"),)), ["GET /?q=ab"], ["GET /?q=abc", "GET /?Q=a"]),
        (Match("/", query=(TextMatch("q", "a b"),)), ["GET /?q=a%20b", "GET /?q=a+b"], ["GET /?q=ab"]),
    ],
)
def test_matches_follow_the_gateway_api(match, taken, left):
    for line in taken:
        assert isinstance(Play(to("p", match=match), p=service()).ask(line), Forward), line
    for line in left:
        error(Play(to("p", match=match), p=service()).ask(line), 404)


def test_header_matches_see_values_that_came_twice_as_one_list():
    match = Match("/", headers=(TextMatch("x-team", "a,b"), TextMatch("x-kind", "[0-9]+", "regex")))
    for sent, taken in (
        ([("x-team", "a"), ("x-team", "b"), ("x-kind", "12")], True),
        ([("x-team", "a"), ("x-kind", "12")], False),
        ([("x-team", "a,b"), ("x-kind", "12x")], False),
        ([("x-team", "a,b")], False),
    ):
        answer = Play(to("p", match=match), p=service()).ask("GET /", headers=sent)
        assert isinstance(answer, Forward) is taken, sent


def test_a_header_that_is_not_there_matches_nothing():
    for value in (".*", ".+", "[^a]*"):
        match = Match("/", headers=(TextMatch("x-a", value, "regex"),))
        error(Play(to("p", match=match), p=service()).ask("GET /"), 404)
        assert isinstance(Play(to("p", match=match), p=service()).ask("GET /", headers={"x-a": "b"}), Forward)


def test_the_model_of_the_body_chooses_the_route():
    routes = (to("blue", model="sky"), to("green", model="grass"))
    pools = {"blue": serving("sky"), "green": serving("grass")}
    assert endpoint(Play(*routes, **pools).ask(model="grass")).startswith("ns/green")
    assert endpoint(Play(*routes, **pools).ask(model="sky")).startswith("ns/blue")


def test_the_base_model_of_an_adapter_chooses_the_route():
    base = TextMatch("x-gateway-base-model-name", "llama")
    play = Play(to("p", match=Match("/", headers=(base,))), p=serving("llama", "food-review<llama"))
    line = read(play.ask(model="food-review"))
    assert line.headers["x-gateway-model-name"] == "food-review"
    assert line.headers["x-gateway-base-model-name"] == "llama"


@pytest.mark.parametrize(
    "name",
    [
        "x-gateway-model-name",
        "x-gateway-base-model-name",
        "x-gateway-destination-endpoint",
        "x-gateway-destination-endpoint-subset",
        "x-prefiller-host-port",
    ],
)
def test_what_a_client_sends_in_our_headers_is_stripped(name):
    line = read(Play(to("p"), p=service()).ask("GET /", headers={name: "evil"}))
    assert name not in line.headers
    line = read(Play(to("p"), p=serving("m")).ask(model="m", headers={name: "evil"}))
    assert line.headers.get(name) in (None, "m")
    assert line.names.count(name) <= 1


def test_a_client_can_not_choose_a_route_by_our_headers():
    play = Play(to("secret", model="m"), secret=serving("m"))
    error(play.ask("GET /metrics", headers={"x-gateway-model-name": "m"}), 404)


def test_a_name_that_would_write_a_header_is_refused():
    play = Play(to("p"), p=serving())
    problem = error(play.ask(model="m\r\nx-evil: 1"), 400)
    assert problem["param"] == "model"
    forward = Play(to("p"), p=service()).ask(model="m\r\nx-evil: 1")
    assert b"evil" not in forward.head


def test_a_model_in_any_language_travels_as_utf_8():
    line = read(Play(to("p", model="模型"), p=serving("模型")).ask(model="模型"))
    assert line.headers["x-gateway-model-name"] == "模型"


def test_hop_by_hop_headers_and_those_that_connection_names_end_here():
    sent = {
        "connection": "keep-alive, X-Once",
        "x-once": "1",
        "keep-alive": "5",
        "te": "gzip",
        "upgrade": "h2c",
        "proxy-authorization": "x",
        "expect": "100-continue",
        "x-stays": "1",
    }
    names = read(Play(to("p"), p=service()).ask("GET /", headers=sent)).names
    ours = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"}
    assert set(names) == {"host", "x-stays", *ours}


def test_that_trailers_are_welcome_is_passed_on_for_they_are():
    sent = {"connection": "te", "te": "gzip, Trailers"}
    assert read(Play(to("p"), p=service()).ask("GET /", headers=sent)).headers["te"] == "trailers"
    assert "te" not in read(Play(to("p"), p=service()).ask("GET /", headers={"te": "trailers;q=0.5"})).headers


def test_what_the_gateway_has_read_of_the_body_the_server_reads_too():
    """To many servers a body without a type is JSON: no client shall have it read as one thing here, another there."""
    headers = {"connection": "Content-Type, content-encoding, x-once", "content-encoding": "identity", "x-once": "1"}
    line = read(Play(to("p"), p=serving("m")).ask(body=b"a,b", kind="text/csv", headers=headers))
    assert (line.headers["content-type"], line.headers["content-encoding"]) == ("text/csv", "identity")
    assert "x-once" not in line.headers


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("HEAD", None), ("POST", "0"), ("PUT", "0")])
def test_a_body_that_could_be_expected_is_said_to_be_empty(method, length):
    assert read(Play(to("p"), p=service()).ask(f"{method} /")).headers.get("content-length") == length


# Hosts.

HOSTS = (
    Listener("ns/gw", "exact", 80, hostname="a.example", routes=(to("exact"),)),
    Listener("ns/gw", "deep", 80, hostname="*.b.example", routes=(to("deep"),)),
    Listener("ns/gw", "wild", 80, hostname="*.example", routes=(to("wild"),)),
)


@pytest.mark.parametrize(
    ("host", "pool"),
    [
        ("a.example", "exact"),
        ("A.Example:8080", "exact"),
        ("a.example.", "exact"),
        ("a.example.:80", "exact"),
        ("x.example", "wild"),
        ("x.y.example", "wild"),
        ("x.b.example", "deep"),
        ("b.example", "wild"),
    ],
)
def test_the_listener_with_the_most_specific_hostname_takes_the_request(host, pool):
    play = Play(listeners=HOSTS, exact=service(), deep=service(), wild=service())
    assert endpoint(play.ask("GET /", host=host)).startswith(f"ns/{pool}")


@pytest.mark.parametrize("host", ["example", "aexample", "[::1]:80", "127.0.0.1", ""])
def test_a_host_that_no_listener_serves_gets_404(host):
    play = Play(listeners=HOSTS, exact=service(), deep=service(), wild=service())
    assert f"`{host}`" in error(play.ask("GET /", host=host), 404)["message"]


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "user@a", "a:b", "a:123456", "[::1", "::1", "<a>", "a, b", "é", "a" * 300]
)
def test_a_host_header_that_is_none_gets_400(host):
    assert "Host header" in error(Play(to("p"), p=service()).ask("GET /", host=host), 400)["message"]


def test_two_host_headers_are_no_request():
    answer = Play(to("p"), p=service()).ask("GET /", headers=[("host", "other.example")])
    assert "several" in error(answer, 400)["message"]


def test_of_two_content_types_the_first_counts_as_in_the_servers():
    play = Play(to("p"), p=serving("m"))
    play.ask(model="m", headers=[("content-type", "text/html")])
    assert play.record.model == "m"


def test_a_host_header_must_be_there_from_http_1_1_on():
    error(Play(to("p"), p=service()).ask("GET /", host=None), 400)
    assert isinstance(Play(to("p"), p=service()).ask("GET /", host=None, http10=True), Forward)


def test_the_hostnames_of_a_route_count_beside_those_of_its_listener():
    own = to("own", hostnames=("a.example", "*.b.example"))
    play = [Play(own, to("rest"), own=service(), rest=service()) for _ in range(3)]
    assert endpoint(play[0].ask("GET /", host="a.example")).startswith("ns/own")
    assert endpoint(play[1].ask("GET /", host="x.b.example")).startswith("ns/own")
    assert endpoint(play[2].ask("GET /", host="b.example")).startswith("ns/rest")


def test_the_host_of_an_absolute_target_counts_more_than_the_header():
    play = Play(listeners=HOSTS, exact=service(), deep=service(), wild=service())
    line = read(play.ask("GET http://a.example/x?y", host="x.example"))
    assert (line.target, line.headers["host"]) == ("/x?y", "a.example")
    assert play.record.pool == "exact"


# Targets and methods that are special.


def test_a_path_is_matched_and_passed_on_in_its_normal_form():
    routes = (to("private", "/private"), to("public", "/public"))
    play = Play(*routes, private=service(), public=service())
    line = read(play.ask("GET /public/%2e%2e/private/x?y=../z"))
    assert (play.record.pool, line.target) == ("private", "/private/x?y=../z")


def test_a_slash_that_is_escaped_is_no_slash():
    play = Play(to("p", "/a/b"), p=service())
    error(play.ask("GET /a%2Fb"), 404)
    assert read(Play(to("p", "/a"), p=service()).ask("GET /a/b%2Fc")).target == "/a/b%2Fc"


def test_options_asterisk_is_answered_here():
    answer = Play(to("p"), p=service()).ask("OPTIONS *")
    assert (answer.status, answer.body) == (204, b"")
    assert "POST" in header(answer, "allow")
    error(Play(to("p"), p=service()).ask("GET *"), 400)
    assert isinstance(Play(to("p"), p=service()).ask("OPTIONS /x"), Forward)


@pytest.mark.parametrize("line", ["CONNECT example.com:443", "TRACE /"])
def test_connect_and_trace_are_not_allowed(line):
    answer = Play(to("p"), p=service()).ask(line)
    error(answer, 405)
    assert answer.close
    assert header(answer, "allow")


def test_head_is_passed_on():
    assert read(Play(to("p"), p=service()).ask("HEAD /x")).method == "HEAD"


# What finds no backend.


def test_no_route_is_404_and_says_what_was_asked():
    assert error(Play(to("p", "/a"), p=service()).ask("GET /b"), 404)["message"] == "No route here takes GET /b."


def test_no_route_for_a_request_without_a_model_says_so():
    play = Play(to("p", model="m"), p=serving("m"))
    assert error(play.ask(body={}), 404)["message"] == f"No route here takes POST {CHAT} without a model."


def test_no_route_for_this_path_is_not_blamed_on_the_model():
    play = Play(to("p", "/v1", model="m"), p=serving("m"))
    message = error(play.ask("POST /v2/chat", model="m"), 404)["message"]
    assert message == "No route here takes POST /v2/chat for the model `m`."


def test_an_unknown_model_is_told_which_models_are_served():
    play = Play(to("p"), to("q", "/q"), p=serving("b", "a"), q=serving("c"))
    problem = error(play.ask(model="nope"), 404)
    assert problem["code"] == "model_not_found"
    assert problem["param"] == "model"
    assert problem["message"] == "The model `nope` does not exist. Served here: a, b."


def test_a_model_that_no_route_knows_is_told_the_same():
    play = Play(to("p", model="a"), to("q", model="b"), p=serving("a"), q=serving("b"))
    assert error(play.ask(model="nope"), 404)["message"] == "The model `nope` does not exist. Served here: a, b."


def test_a_model_of_another_route_is_told_so():
    play = Play(to("q", "/v1/completions"), to("p"), p=serving("a"), q=serving("b"))
    message = error(play.ask("POST /v1/completions", model="a"), 404)["message"]
    assert message == "The model `a` is not served on this route. Served here: a, b."


def test_many_models_are_not_all_named():
    play = Play(to("p"), p=serving(*(f"m{n:02}" for n in range(30))))
    assert error(play.ask(model="x"), 404)["message"].endswith("m19 and 10 more.")


def test_a_route_whose_pool_is_not_there_gets_500():
    play = Play(to("p", backends=(Backend(None, reason="InferencePool ns/x does not exist"),)))
    assert error(play.ask("GET /"), 500)["message"].endswith("no backend: InferencePool ns/x does not exist.")
    assert error(Play(to("gone")).ask("GET /"), 500)
    assert error(Play(Route("ns/r/0/0", Match("/"))).ask("GET /"), 500)


def test_a_body_that_can_not_be_read_matters_to_inference_pools_only():
    for body in (b"{", b'{"model":1}', b"[]"):
        error(Play(to("p"), p=serving("m")).ask(body=body), 400)
        assert Play(to("p"), p=service()).ask(body=body).body == body
    compressed = {"content-encoding": "br"}
    error(Play(to("p"), p=serving("m")).ask(body=b"\x1f\x8b", headers=compressed), 415)
    assert isinstance(Play(to("p"), p=service()).ask(body=b"\x1f\x8b", headers=compressed), Forward)
    assert isinstance(Play(to("p"), p=serving("m")).ask(headers=compressed), Forward), "there is no body to read"


def test_a_request_without_a_model_may_go_to_any_endpoint():
    line = read(Play(to("p"), p=serving("m")).ask("POST /tokenize", body={"prompt": "x"}))
    assert "x-gateway-model-name" not in line.headers


# Names of requests.


def test_a_request_id_is_kept_or_given():
    play = Play(to("p"), p=service())
    assert read(play.ask("GET /", headers={"x-request-id": "mine"})).headers["x-request-id"] == "mine"
    assert header(play.answers(), "x-request-id") == "mine"
    for useless in ("", "x" * 129):
        play = Play(to("p"), p=service())
        assert read(play.ask("GET /", headers={"x-request-id": useless})).headers["x-request-id"] == "id-1"
    assert header(Play().ask("GET /", headers={"x-request-id": "mine"}), "x-request-id") == "mine"


def test_a_servers_request_id_gives_way_to_ours():
    play = Play(to("p"), p=service())
    play.ask("GET /")
    relay = play.answers(200, [(b"x-request-id", b"theirs"), (b"connection", b"x-a, close"), (b"x-a", b"1")])
    assert [name for name, _ in pairs(relay)] == [b"x-request-id"]
    assert header(relay, "x-request-id") == "id-1"


def test_the_debug_header_names_the_endpoint():
    play = Play(to("p"), p=service(), debug=True)
    play.ask("GET /")
    assert header(play.answers(), "x-gateway-destination-endpoint-served") == "10.0.0.1:8000"
    play = Play(to("p"), p=service())
    play.ask("GET /")
    assert header(play.answers(), "x-gateway-destination-endpoint-served") is None


def test_a_long_path_is_passed_on_whole_and_recorded_in_part():
    play = Play(to("p"), p=service())
    path = "/" + "x" * 5000
    assert read(play.ask(f"GET {path}")).target == path
    assert len(play.record.path) < 1100


def test_refusals_are_answers_to_their_own_request():
    answer = Play().ask("GET /")
    assert isinstance(answer, Respond)
    assert header(answer, "x-request-id") == "id-1"


# What a site remembers.


def again(play: Play) -> Play:
    """Another request to the same gateway."""
    play.exchange = Exchange(play.site)
    return play


def test_requests_that_differ_in_a_header_go_their_own_ways():
    gold = Match("/", headers=(TextMatch("x-tier", "gold"),))
    play = Play(to("gold", match=gold), to("rest"), gold=serving("m"), rest=serving("m"))
    for tier, pool in (("iron", "rest"), ("gold", "gold"), ("iron", "rest"), ("gold", "gold")):
        assert endpoint(again(play).ask(model="m", headers={"x-tier": tier})).startswith(f"ns/{pool}")


def test_the_dice_are_thrown_for_every_request():
    one = service(endpoints=1)
    play = Play(to("a", backends=(Backend("a"), Backend("b"))), dice=[0.1, 0.9, 0.1], a=one, b=one)
    assert [endpoint(again(play).ask("GET /"))[:4] for _ in range(3)] == ["ns/a", "ns/b", "ns/a"]


def test_an_adapter_that_moves_to_another_base_model_takes_its_requests_along():
    base = [Match("/", headers=(TextMatch("x-gateway-base-model-name", name),)) for name in ("llama", "gemma")]
    play = Play(to("a", match=base[0]), to("b", match=base[1]), a=serving(), b=serving())
    for name, pool in (("llama", "a"), ("gemma", "b")):
        play.bases["tuned"] = name
        assert endpoint(again(play).ask(model="tuned")).startswith(f"ns/{pool}")


def test_a_pool_that_goes_is_missed_at_once():
    play = Play(to("p"), p=service())
    assert isinstance(again(play).ask("GET /"), Forward)
    del play.views["p"]
    error(again(play).ask("GET /"), 500)


def test_strange_requests_do_not_pile_up():
    play = Play(to("p"), p=service())
    for number in range(3000):
        again(play).ask(f"GET /{number}")
    assert len(play.site.ways) <= 1024
    size = len(play.site.ways)
    again(play).ask("GET /" + "x" * 5000)
    assert len(play.site.ways) == size
