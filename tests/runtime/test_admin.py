"""`headgate explain` for each way a request can go, and the admin face over it."""

import asyncio
import json
from pathlib import Path

from headgate.cli.verbs import KINDS
from headgate.exchange.record import Record
from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.flow.ticket import DISPATCHED, EVICTED, EXPIRED, SATURATED, Stay
from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Decision
from headgate.pick.profile import DEFAULT
from headgate.pick.standing import Standing
from headgate.runtime.admin import Admin
from headgate.runtime.front import Front
from headgate.runtime.gateway import Gateway, Options
from headgate.runtime.recall import told
from headgate.runtime.rows import ASKED, ROWS, Seen
from headgate.runtime.server import Answer, Request

_A, _B = Endpoint("default/a-rank-0", "10.0.0.1", 8000), Endpoint("default/b-rank-0", "10.0.0.2", 8000)


def _decision(*endpoints: Endpoint, exclude: frozenset[str] = frozenset()) -> Decision:
    loads = {endpoint.name: Load(waiting=0, running=0, kv_usage=0.5) for endpoint in endpoints}
    standing = Standing("default/pool", endpoints, loads, Ledger(), PrefixIndex())
    return choose(Ask("m", exclude=exclude), standing, DEFAULT, lambda: 0.0)


def _record(**fields: object) -> Record:
    given = {"id": "one", "method": "POST", "path": "/v1/x", "host": "h", "peer": "p", "model": "m", "status": 200}
    times = {"asked_at": 10.0, "sent_at": 10.0, "answered_at": 10.5, "ended_at": 12.0}
    return Record(**(given | times | fields))  # type: ignore[arg-type]


def _get(path: str, *records: Record, query: str = "", body: bytes = b"") -> tuple[int, object]:
    async def main() -> tuple[int, bytes]:
        gateway = Gateway(Options(), lambda text: None, None)
        assert isinstance(gateway.serving, Front)
        for record in records:
            gateway.serving.plane.done(record)
        admin = Admin(lambda: Seen(gateway, (), ()), lambda: False)
        answer = admin.handle(Request("POST" if body else "GET", path, query, {}, body))
        if not isinstance(answer, Answer):
            answer = await answer
        return answer.status, answer.body

    status, body = asyncio.run(main())
    return status, json.loads(body) if body[:1] in (b"{", b"[") else body.decode()


def test_a_request_that_was_sent_at_once() -> None:
    text = told(_record(decisions=(_decision(_A, _B),), route="default/r/0/0"))
    assert "answered  200 after 2.00 s\n" in text
    assert "route     default/r/0/0\n" in text
    assert "chosen    default/a-rank-0" in text
    assert "waited" not in text
    assert "try 1" not in text


def test_what_a_request_cost() -> None:
    cost = {"prompt_tokens": 12, "completion_tokens": 340, "cached_tokens": 8, "chunks": 300}
    assert "tokens    prompt 12 (8 cached), completion 340\n" in told(_record(**cost))
    assert "tokens    the server told nothing; 7 chunks went by\n" in told(_record(chunks=7))
    assert "tokens" not in told(_record())
    assert "from alice at p: POST" in told(_record(client="alice"))
    assert "priority -1 (objective batch)\n" in told(_record(objective="batch", priority=-1))


def test_a_request_that_was_refused_before_anybody_was_chosen() -> None:
    text = told(
        _record(status=404, error="The model `m` does not exist.", sent_at=0.0, answered_at=0.0, ended_at=10.001)
    )
    assert "answered  404 after 1.0 ms: The model `m` does not exist.\n" in text
    assert "route     none\n" in text
    assert "It never came to choosing an endpoint." in text


def test_a_request_that_waited_and_one_that_did_so_in_vain() -> None:
    assert "waited    1.50 s for an endpoint or an adapter\n" in told(_record(waited=True, sent_at=11.5))
    vain = told(_record(waited=True, sent_at=0.0, answered_at=0.0, status=503, ended_at=40.0))
    assert "waited    30.00 s for an endpoint or an adapter, in vain\n" in vain


def test_a_request_that_came_to_the_queues_of_its_pool() -> None:
    assert "queue     went at once in band 0 as flow f\n" in told(_record(stay=Stay("f", DISPATCHED)))
    text = told(_record(stay=Stay("f", DISPATCHED, 1.5, 3), priority=-1))
    assert "queue     queued for 1.50 s in band -1 as flow f, 3 of its priority or a higher one before it\n" in text
    assert "queue     rejected-saturated at once in band 0 as flow f\n" in told(_record(stay=Stay("f", SATURATED)))
    assert "before it, then rejected-ttl-expired\n" in told(_record(stay=Stay("f", EXPIRED, 60.0, 3)))
    assert "queue     went at once in band 0 as flow f, then evicted\n" in told(_record(stay=Stay("f", EVICTED)))
    assert "queue" not in told(_record())


def test_a_request_that_was_sent_again() -> None:
    decisions = (_decision(_A, _B), _decision(_A, _B, exclude=frozenset({"default/a-rank-0"})))
    text = told(_record(tries=2, decisions=decisions))
    first, second = text.index("try 1"), text.index("try 2")
    assert first < text.index("chosen    default/a-rank-0") < second < text.index("chosen    default/b-rank-0")
    assert "removed   by not-tried: default/a-rank-0" in text


def test_a_model_under_another_name() -> None:
    text = told(_record(target="m-v2", resolved_by="InferenceModel m", priority=1))
    assert "model     m → m-v2 (by InferenceModel m), priority 1\n" in text


def test_explain_in_json_has_the_access_logs_fields_and_each_decision() -> None:
    status, found = _get("/explain/one", _record(status=500), _record(decisions=(_decision(_A, _B),)))
    assert status == 200
    assert isinstance(found, dict)
    assert set(found) == {"request", "decisions"}
    assert found["request"]["status"] == 200  # the latest of that id
    assert [one["endpoint"] for one in found["decisions"][0]["candidates"]] == ["default/a-rank-0", "default/b-rank-0"]


OTHER = b"""\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: running-requests-size-scorer}]
schedulingProfiles: [{name: calm, plugins: [{pluginRef: running-requests-size-scorer}]}]
"""


def _busy() -> Decision:
    loads = {_A.name: Load(waiting=0, running=9, kv_usage=0.5), _B.name: Load(waiting=4, running=0, kv_usage=0.5)}
    standing = Standing("default/pool", (_A, _B), loads, Ledger(), PrefixIndex())
    return choose(Ask("m"), standing, DEFAULT, lambda: 0.0)


def test_what_another_policy_would_have_chosen_in_json() -> None:
    asked = _record(ask=Ask("m"), decisions=(_busy(),))
    status, found = _get("/explain/one", asked, query="file=calm.yaml", body=OTHER)
    assert status == 200
    assert isinstance(found, dict)
    told = found["what_if"]
    assert (told["file"], told["profile"]) == ("calm.yaml", "calm")
    (one,) = told["decisions"]
    assert (one["served"], one["decision"]["chosen"]) == ("default/a-rank-0", "default/b-rank-0")
    assert (one["same"], one["regret"], one["reason"]) == (False, 1.0, "running-requests-size-scorer")
    assert one["cost"] == 2 / 11
    assert one["unknown"] == []
    status, found = _get("/explain/one", _record(), query="file=calm.yaml", body=OTHER)
    assert isinstance(found, dict)
    assert (status, found["what_if"]["decisions"]) == (200, [])


def test_what_another_policy_would_have_chosen_in_words() -> None:
    asked = _record(ask=Ask("m"), decisions=(_busy(),))
    text = str(_get("/explain/one", asked, query="text&file=my%20calm.yaml", body=OTHER)[1])
    live, _, other = text.partition("\nunder my calm.yaml\n")
    assert "chosen    default/a-rank-0" in live
    assert "pool      default/pool (profile calm)\nchosen    default/b-rank-0" in other
    assert (
        "compared  default/a-rank-0 served, which is 1.000 worse by calm, default/b-rank-0 is 0.182 worse by default "
        "(totals of at most 1); most because of running-requests-size-scorer\n" in other
    )
    assert other.endswith("0        9  50%          0\n")
    same = OTHER.replace(b"running-requests-size-scorer", b"queue-scorer")
    assert "compared  the same endpoint\n" in str(_get("/explain/one", asked, query="text&file=x", body=same)[1])


def test_each_try_has_its_own_answer() -> None:
    tries = (_busy(), _decision(_A, _B, exclude=frozenset({"default/a-rank-0"})))
    asked = _record(tries=2, ask=Ask("m"), decisions=tries)
    text = str(_get("/explain/one", asked, query="text&file=x", body=OTHER)[1])
    assert text.index("try 2\n") < text.index("try 1 under x\n") < text.index("try 2 under x\n")


def test_a_policy_with_mistakes_is_told_with_their_lines() -> None:
    wrong = OTHER.replace(b"type: running", b"type: sitting")
    status, found = _get("/explain/one", _record(), query="file=calm.yaml", body=wrong)
    assert status == 422
    assert isinstance(found, dict)
    assert found["error"].startswith("calm.yaml:3: plugins[0].type: there is no plugin")
    assert "calm.yaml:1: kind: this is no EndpointPickerConfig" in str(
        _get("/explain/one", _record(), query="file=calm.yaml", body=b"a: 1")[1]
    )


def test_what_is_not_known_is_said() -> None:
    assert _get("/explain/two", _record()) == (
        404,
        {"error": "no request 'two' among the last 1; its id is in the answer's x-request-id header"},
    )
    status, found = _get("/get/nodes")
    assert (status, found) == (404, {"error": f"there is no 'nodes' to get, but {', '.join(KINDS)}"})
    assert _get("/elsewhere")[0] == 404


def test_odd_request_ids_are_found() -> None:
    odd = 'a b/%2F"ü'
    assert _get("/explain/a%20b%2F%252F%22%C3%BC", _record(id=odd), query="text")[0] == 200


def test_the_latest_requests_come_first() -> None:
    status, found = _get("/requests", *(_record(id=str(number)) for number in range(150)))
    assert status == 200
    assert isinstance(found, list)
    assert [one["id"] for one in found] == [str(number) for number in range(149, 49, -1)]


def test_every_kind_is_a_list_of_rows_and_the_metrics_are_there_too() -> None:
    for kind in KINDS:
        assert _get(f"/get/{kind}") == (200, [])
    assert "headgate_build_info" in str(_get("/metrics")[1])
    assert _get("/healthz") == (200, "ok\n")
    assert _get("/readyz") == (503, "not ready\n")


def test_the_documented_kinds_are_those_that_there_are() -> None:
    assert (*ROWS, *ASKED) == KINDS
    assert "4,096" in (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
