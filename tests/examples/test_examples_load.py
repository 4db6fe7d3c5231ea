"""Each example is read without a complaint and means what its README says."""

import pytest
from example_readme import EXAMPLES, agrees, commands

from headgate.api import Text, load
from headgate.plan import translate

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def loaded(*directories):
    files = [path for directory in directories for path in sorted((EXAMPLES / directory).glob("*.yaml"))]
    assert files
    return load([Text(str(path), path.read_text()) for path in files])


def planned(*directories):
    snapshot, _ = loaded(*directories)
    return translate(snapshot)


def conditions(statuses):
    """Every condition there is, as (object, type, status, reason)."""
    for status in statuses:
        groups = [status.conditions]
        groups += [listener.conditions for listener in status.listeners]
        groups += [parent.conditions for parent in status.parents]
        for group in groups:
            for each in group:
                yield f"{status.kind} {status.name}", each.type, each.status, each.reason


def test_there_is_one_example_for_each_guide():
    assert NAMES == [
        "autopilot-body-routing",
        "criticality-and-canary",
        "lora-multi-model",
        "ray-serve-multiplexing",
        "vllm-llama3",
    ]


@pytest.mark.parametrize("name", [*NAMES, "ray-serve-multiplexing/local"])
def test_nothing_in_it_is_wrong_or_doubtful(name):
    _, problems = loaded(name)
    assert [str(problem) for problem in problems if problem.severity != "note"] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_status_is_good(name):
    _, statuses = planned(name)
    found = list(conditions(statuses))
    assert {(kind.partition(" ")[0], type_) for kind, type_, _, _ in found} >= {
        ("Gateway", "Programmed"),
        ("HTTPRoute", "Accepted"),
        ("HTTPRoute", "ResolvedRefs"),
        ("InferencePool", "Accepted"),
    }
    bad = [each for each in found if each[2] != ("False" if each[1] == "Conflicted" else "True")]
    assert bad == []


@pytest.mark.parametrize("name", NAMES)
def test_every_pool_finds_the_pods_that_the_example_makes(name):
    snapshot, _ = loaded(name, *(["ray-serve-multiplexing/local"] if name.startswith("ray") else []))
    plan, _ = translate(snapshot)
    labels = [workload.template.labels for workload in snapshot.workloads] + [pod.meta.labels for pod in snapshot.pods]
    assert plan.pools
    for pool in plan.pools.values():
        assert any(pool.selector.items() <= each.items() for each in labels), pool.name


@pytest.mark.parametrize("name", NAMES)
def test_its_gateway_listens_on_port_80_and_leads_to_an_inference_pool(name):
    plan, _ = planned(name)
    (listener,) = plan.listeners
    assert listener.port == 80
    backends = [backend for route in listener.routes for backend in route.backends]
    assert [plan.pools[backend.pool].kind for backend in backends] == ["inference"]


def models(name, pool):
    plan, _ = planned(name)
    return plan.pools[pool].models


def test_guide_1s_misspelt_model_leads_to_the_model_that_was_meant():
    known = models("lora-multi-model", "default/gemma-server")
    assert set(known) == {"google/gemma-3-1-it", "google/gemma-3-1b-it", "food-review"}
    assert [target.model for target in known["google/gemma-3-1-it"].targets] == ["google/gemma-3-1b-it"]


def test_guide_2s_pool_asks_ray_serve_for_its_health():
    plan, _ = planned("ray-serve-multiplexing")
    pool = plan.pools["default/ray-vllm-models"]
    assert pool.health.path == "/-/healthz"
    assert set(pool.models) == {"/gcs/google/gemma-2-9b-it", "/gcs/meta-llama/Llama-3.1-8B-Instruct"}


def test_guide_3s_route_matches_the_model_in_the_body_only():
    plan, _ = planned("autopilot-body-routing")
    ((match,),) = [[route.match for route in listener.routes] for listener in plan.listeners]
    (header,) = match.headers
    assert (header.name, header.value, header.kind) == (
        "x-gateway-model-name",
        "meta-llama/Llama-3.1-8B-Instruct",
        "exact",
    )


def test_guide_4s_server_has_time_to_finish():
    snapshot, _ = loaded("vllm-llama3")
    (workload,) = snapshot.workloads
    (vllm,) = workload.template.spec.containers
    assert workload.template.spec.termination_grace_period_seconds == 130
    assert vllm.lifecycle.pre_stop.sleep.seconds == 30
    assert vllm.startup_probe.http_get.path == vllm.readiness_probe.http_get.path == "/health"


def test_guide_5s_models_have_their_criticality_and_the_canary_its_weights():
    known = models("criticality-and-canary", "default/vllm-llama3-8b-instruct")
    assert (known["food-review"].priority, known["meta-llama/Llama-3.1-8B-Instruct"].priority) == (0, 1)
    assert [(target.model, target.weight) for target in known["food-review"].targets] == [("food-review", 100)]
    assert [(target.model, target.weight) for target in known["food-review-canary"].targets] == [
        ("food-review", 90),
        ("food-review-v2", 10),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_its_readme_starts_with_headgate_up_and_goes_on_with_requests(name):
    first, *rest = commands(name)
    assert first.script.startswith(f"headgate up examples/{name}")
    assert any("curl" in command.script for command in rest)


def test_answers_are_compared_by_what_they_show():
    assert agrees('HTTP/1.1 200 OK\r\na: b\r\n\r\n{"model":"m","x":1}\n', 'HTTP/1.1 200 OK\n…\n{"model":"m",…}\n')
    assert not agrees("HTTP/1.1 404 Not Found\n", "HTTP/1.1 200 OK\n…\n")
    assert not agrees("b a", "a…b")
