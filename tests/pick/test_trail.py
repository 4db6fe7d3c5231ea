"""`explain` and `render` of decisions."""

import json

from pools import endpoint, served, standing

from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.pick.choose import choose
from headgate.pick.decision import Ask
from headgate.pick.profile import DEFAULT
from headgate.pick.standing import Standing
from headgate.pick.trail import explain, render


def decide(loads, die=0.0, **more):
    return choose(Ask("m"), standing(loads, **more), DEFAULT, lambda: die)


LOADS = {"a": Load(4, 1, 0.5), "b": Load(0, 2, 0.25), "c": Load(2, 0, None)}


def test_an_explanation_says_who_won_over_whom_and_by_what():
    told = explain(decide(LOADS))
    assert (told["chosen"], told["runner_up"], told["fallbacks"]) == ("b", "c", ["c", "a"])
    assert told["why"] == "best total, 7.500; next c with 6.250, behind most in queue-scorer"
    assert [one["endpoint"] for one in told["candidates"]] == ["b", "c", "a"]
    first = told["candidates"][0]
    assert first["scores"]["kv-cache-utilization-scorer"] == {"score": 0.75, "weight": 2.0, "points": 1.5}
    assert first["load"] == {"waiting": 0, "running": 2, "kv_usage": 0.25}
    assert first["total"] == sum(score["points"] for score in first["scores"].values())


def test_an_explanation_is_made_of_what_json_has():
    for decision in (decide(LOADS), decide({}), decide({"a": Load()}), decide(LOADS, b={"ready": False})):
        assert json.loads(json.dumps(explain(decision))) == explain(decision)


def test_chance_is_called_chance():
    told = explain(decide({name: Load() for name in "abc"}, die=0.5))
    assert told["chosen"] == "b"
    assert told["tied"] == 3
    assert told["why"] == "3 of 3 share the best total, 8.000: chance decided"


def test_removed_endpoints_are_listed_by_filter():
    told = explain(decide({"a": Load(models=served("x")), "b": Load()}, b={"draining": True}))
    assert told["chosen"] is None
    assert told["removed"] == {"not-draining": ["b"], "serves-model": ["a"]}
    assert told["why"] == "no endpoint of pool ns/pool serves the model m"


def test_two_endpoints_that_are_alike_but_for_their_name_are_told_apart():
    state = Standing("p", [endpoint("a"), endpoint("b", address="10.0.0.97")], {}, Ledger(), standing({}).index)
    told = explain(choose(Ask("m"), state, DEFAULT, lambda: 0.9))
    assert (told["chosen"], told["runner_up"]) == ("b", "a")


def test_the_text_for_people_is_a_table_with_the_winner_first():
    text = render(decide({**LOADS, "d": Load()}, d={"ready": False}))
    assert text == (
        "pool      ns/pool (profile default)\n"
        "chosen    b at 10.0.0.98:8000\n"
        "because   best total, 7.500; next c with 6.250, behind most in queue-scorer\n"
        "removed   by ready: d\n"
        "\n"
        "   endpoint  total  queue-scorer ×2  kv-cache-utilization-scorer ×2  prefix-cache-scorer ×3"
        "  lora-affinity-scorer ×4  waiting  running   kv  in flight\n"
        "*  b         7.500            1.000                           0.750                   0.000"
        "                    1.000        0        2  25%          0\n"
        "   c         6.250            0.500                           0.625                   0.000"
        "                    1.000        2        0    -          0\n"
        "   a         5.000            0.000                           0.500                   0.000"
        "                    1.000        4        1  50%          0\n"
    )


def test_the_text_marks_those_that_shared_the_best_total():
    rows = render(decide({name: Load() for name in "ab"})).splitlines()[-2:]
    assert [row.split()[:2] for row in rows] == [["*", "a"], ["=", "b"]]


def test_the_text_for_nobody_and_for_the_only_one_is_short():
    assert render(decide({})) == (
        "pool      ns/pool (profile default)\nchosen    none\nbecause   pool ns/pool has no endpoints\n"
    )
    assert "because   the only candidate\n" in render(decide({"a": Load()}))
