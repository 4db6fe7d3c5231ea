"""GET /v1/models: the union of what a client can reach, answered by the gateway."""

import json

from playbook import Play, error, read, service, serving, to

from headgate.exchange.events import Forward, Respond
from headgate.plan.plan import Backend, Match, Model, Target

SKY, GRASS = serving("sky", "cloud<sky"), serving("grass")


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
