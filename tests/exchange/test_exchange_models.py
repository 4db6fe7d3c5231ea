"""GET /v1/models: the union of what a client can reach, answered by the gateway."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import Play, error, read, service, serving, to

from headgate.exchange.events import Forward, Respond
from headgate.exchange.exchange import Exchange
from headgate.exchange.router import Asking, find_route
from headgate.exchange.site import reachable
from headgate.plan.plan import Backend, Match, Model, Target, TextMatch

SKY, GRASS = serving("sky", "cloud<sky"), serving("grass")
BASE_SKY = Match("/", headers=(TextMatch("x-gateway-base-model-name", "sky"),))


def listed(answer: object) -> list[dict]:
    assert isinstance(answer, Respond)
    assert answer.status == 200
    body = json.loads(answer.body)
    assert body["object"] == "list"
    return body["data"]


def names(answer: object) -> list[str]:
    return [card["id"] for card in listed(answer)]


def test_the_models_of_all_routes_are_listed_with_their_parents():
    cards = listed(Play(to("a", model="sky"), to("b"), a=SKY, b=GRASS).ask("GET /v1/models"))
    assert [(card["id"], card["parent"]) for card in cards] == [("grass", None), ("sky", None)]
    cards = listed(Play(to("a"), to("b", "/b"), a=SKY, b=GRASS).ask("GET /v1/models"))
    assert [(card["id"], card["parent"]) for card in cards] == [("cloud", "sky"), ("sky", None)]
    assert set(cards[0]) == {"id", "object", "created", "owned_by", "root", "parent"}
    assert (cards[0]["object"], cards[0]["created"]) == ("model", 1700000000)


def test_only_what_this_host_reaches_is_listed():
    routes = (to("a", hostnames=("a.example",)), to("b", hostnames=("b.example",)))
    assert names(Play(*routes, a=SKY, b=GRASS).ask("GET /v1/models", host="b.example")) == ["grass"]


def test_a_backend_of_no_weight_serves_nothing():
    route = to("a", backends=(Backend("a"), Backend("b", weight=0)))
    assert names(Play(route, a=SKY, b=GRASS).ask("GET /v1/models")) == ["cloud", "sky"]


def test_a_declared_model_is_listed_once_one_of_its_targets_is_served():
    models = {
        "chat": Model("chat", targets=(Target("sky"), Target("nowhere"))),
        "lost": Model("lost", targets=(Target("nowhere"),)),
        "sky": Model("sky"),
    }
    cards = listed(Play(to("a"), a=serving("sky", models=models)).ask("GET /v1/models"))
    assert [(card["id"], card["parent"]) for card in cards] == [("chat", "sky"), ("sky", None)]


def test_the_list_ends_with_a_slash_too_and_has_a_head():
    assert names(Play(to("a"), a=GRASS).ask("GET /v1/models/")) == ["grass"]
    assert names(Play(to("a"), a=GRASS).ask("GET /v1/models?limit=1")) == ["grass"]
    assert names(Play(to("a"), a=GRASS).ask("HEAD /v1/models")) == ["grass"]


def test_one_model_is_found_by_its_name():
    answer = Play(to("a"), a=SKY).ask("GET /v1/models/cloud")
    assert json.loads(answer.body)["parent"] == "sky"
    problem = error(Play(to("a"), a=SKY).ask("GET /v1/models/rain"), 404)
    assert problem["message"] == "The model `rain` does not exist. Served here: cloud, sky."


def test_a_name_with_slashes_is_found_escaped_or_not():
    llama = serving("meta-llama/Llama-3.1-8B")
    for path in ("meta-llama%2FLlama-3.1-8B", "meta-llama/Llama-3.1-8B", "meta%2dllama%2fLlama-3.1-8B"):
        answer = Play(to("a"), a=llama).ask(f"GET /v1/models/{path}")
        assert json.loads(answer.body)["id"] == "meta-llama/Llama-3.1-8B"


def test_it_is_answered_even_where_no_route_takes_a_request_without_a_model():
    assert names(Play(to("a", model="sky"), a=SKY).ask("GET /v1/models")) == ["sky"]


def test_without_an_inference_pool_it_is_a_path_like_any_other():
    assert isinstance(Play(to("a"), a=service()).ask("GET /v1/models"), Forward)
    error(Play(to("a", "/b"), a=service()).ask("GET /v1/models"), 404)


def test_a_service_with_a_route_of_its_own_for_it_keeps_it():
    own = to("web", match=Match("/v1/models", "exact"))
    play = Play(own, to("a"), web=service(), a=SKY)
    assert read(play.ask("GET /v1/models")).target == "/v1/models"
    assert play.record.pool == "web"
    assert json.loads(Play(own, to("a"), web=service(), a=SKY).ask("GET /v1/models/sky").body)["id"] == "sky"


def test_other_paths_and_methods_are_passed_on():
    assert isinstance(Play(to("a"), a=SKY).ask("POST /v1/models"), Forward)
    assert isinstance(Play(to("a"), a=SKY).ask("GET /v1/modelsx"), Forward)


def test_what_is_reachable_is_found_out_once_until_a_view_is_another():
    play = Play(to("a", hostnames=("*.example",)), a=SKY)
    routes = play.site.router.routes_for("gw.example")
    found = reachable(play.site, routes)
    play.load("ns/a-0", waiting=3)
    assert reachable(play.site, routes) is found
    assert reachable(play.site, play.site.router.routes_for("other.example")) is found
    play.pool("a", **SKY)
    assert reachable(play.site, routes) is not found
    play.pool("a", **GRASS)
    assert list(reachable(play.site, routes)) == ["grass"]


def test_the_base_of_a_model_that_becomes_known_shows_in_what_is_reachable():
    play = Play(to("a", match=BASE_SKY), a=serving("cloud"))
    routes = play.site.router.routes_for("gw.example")
    assert list(reachable(play.site, routes)) == []
    play.bases["cloud"] = "sky"
    assert list(reachable(play.site, routes)) == ["cloud"]


def test_clients_that_make_up_hosts_do_not_make_the_gateway_remember_more():
    play = Play(to("a"), a=SKY)
    for n in range(50):
        error(play.ask(model="nope", host=f"h{n}.example"), 404)
        play.exchange = Exchange(play.site)
    assert len(play.site.reached) == 1


ROUTES = st.lists(
    st.builds(
        lambda pool, path, models: to(pool, match=Match(path, headers=tuple(models))),
        st.sampled_from(("a", "b")),
        st.sampled_from(("/", "/v1", "/v1/chat/completions", "/v1/embeddings", "/x")),
        st.lists(
            st.builds(
                TextMatch,
                st.sampled_from(("x-gateway-model-name", "x-gateway-base-model-name", "x-team")),
                st.sampled_from(("sky", "cloud", "grass")),
                st.sampled_from(("exact", "regex")),
            ),
            max_size=2,
        ),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(ROUTES)
def test_a_model_is_reachable_when_a_request_for_it_gets_to_a_pool_that_offers_it(routes):
    play = Play(*routes, a=SKY, b=GRASS)
    compiled = play.site.router.routes_for("gw.example")
    paths = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/")
    expected = [
        name
        for name in ("cloud", "grass", "sky")
        for found in [[find_route(compiled, Asking("POST", path, "", name, play.bases)) for path in paths]]
        if any(route and name in play.views[route.backends[0].pool].served for route in found)
    ]
    assert list(reachable(play.site, compiled)) == expected
