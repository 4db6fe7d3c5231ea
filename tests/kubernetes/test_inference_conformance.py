"""The Inference Extension's conformance tests, by name, before a real API server: what each of them asks for.

The suite's gateways ask an endpoint picker of its own, which goes by a header. Here the gateway picks itself: the
pool's EndpointPickerConfig has it go by the same header.
"""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from gate import Answer, ask, gateway, refusals
from kubelet import Pod, simulator, until
from running import Running
from town import GATE, MODEL, POOLS, Town

PICKER = """
apiVersion: v1
kind: ConfigMap
metadata: {name: by-header}
data:
  config: |
    apiVersion: inference.networking.x-k8s.io/v1alpha1
    kind: EndpointPickerConfig
    plugins: [{type: header-based-testing-filter}, {type: random-picker}]
    schedulingProfiles:
    - name: default
      plugins: [{pluginRef: header-based-testing-filter}, {pluginRef: random-picker}]
---
apiVersion: v1
kind: Service
metadata: {name: epp}
spec: {ports: [{port: 9002}], selector: {app: epp}}
"""
SECOND = GATE.replace("name: gate}", "name: second}").replace("port: 80", "port: 81")


def pool(name: str, app: str = "", ports: tuple[int, ...] = (8000,), annotated: bool = False, **spec: Any) -> str:
    """With a picker that is a Service; `annotated`: requests go by the header."""
    whole = {
        "apiVersion": f"{POOLS}/v1",
        "kind": "InferencePool",
        "metadata": {
            "name": name,
            "annotations": {"headgate.dev/endpoint-picker-config": "by-header"} if annotated else {},
        },
        "spec": {
            "selector": {"matchLabels": {"app": app or name}},
            "targetPorts": [{"number": port} for port in ports],
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}, "failureMode": "FailOpen"},
            **spec,
        },
    }
    return yaml.safe_dump(whole)


def route(name: str, path: str, *backends: tuple[str, int], gate: str = "gate", **ref: Any) -> str:
    refs = [{"group": POOLS, "kind": "InferencePool", "name": to, "weight": share, **ref} for to, share in backends]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": refs}
    return yaml.safe_dump(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": gate}], "rules": [rule]},
        }
    )


class Suite:
    def __init__(self, town: Town, running: Running) -> None:
        self.town, self.running = town, running

    def apply(self, *texts: str) -> None:
        self.town.apply(*(f"{text}\n" for text in texts))

    def ask(self, path: str, to: str = "", port: int = 8080) -> Answer:
        header = {"test-epp-endpoint-selection": to} if to else {}
        return ask(self.running.address, {"model": MODEL, "prompt": "x", "max_tokens": 1}, path, port, **header)

    def served(self, path: str, to: str = "", port: int = 8080) -> str:
        """The address that served it; its status where that is not 200."""
        try:
            got = self.ask(path, to, port)
        except OSError:
            return "0"
        return got.headers["x-gateway-destination-endpoint-served"] if got.status == 200 else str(got.status)

    def conditions(self, kind: str, name: str, of: str = "gate") -> dict[str, tuple[str, str]]:
        """Of the entry of a Gateway in a status: type → status and reason."""
        status = json.loads(self.town.kubectl("get", kind, name, "-o", "json")).get("status", {})
        entries = [one for one in status.get("parents", ()) if one["parentRef"]["name"] == of]
        return {one["type"]: (one["status"], one["reason"]) for entry in entries for one in entry["conditions"]}

    def pool(self, name: str, of: str = "gate") -> dict[str, tuple[str, str]]:
        return self.conditions(f"inferencepools.{POOLS}", name, of)


GOOD = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
PATH = "/v1/completions"


@pytest.fixture
def suite(town: Town, account: Path, tmp_path: Path) -> Iterator[Suite]:
    town.apply(PICKER, GATE, SECOND)
    with gateway(account, tmp_path, "--namespace", town.namespace, "--debug-headers") as running:
        yield Suite(town, running)
        assert not refusals(running)


@pytest.fixture
def three(town: Town) -> list[Pod]:
    return [town.pod("primary") for _ in range(3)]


def many(suite: Suite, path: str, to: str, number: int = 60) -> set[str]:
    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(lambda _: suite.served(path, to), range(number)))


def test_gateway_following_epp_routing_and_destination_endpoint_served(suite: Suite, three: list[Pod]) -> None:
    """GatewayFollowingEPPRouting, GatewayDestinationEndpointServed, InferencePoolAccepted."""
    suite.apply(pool("primary", annotated=True), route("r", PATH, ("primary", 1)))
    until(lambda: suite.pool("primary") == GOOD)
    for pod in three:
        until(lambda pod=pod: suite.served(PATH, pod.address) == f"{pod.address}:8000")
    for chosen in (three[2:], three[:2], three):
        addresses = {f"{pod.address}:8000" for pod in chosen}
        assert many(suite, PATH, ",".join(pod.address for pod in chosen)) == addresses


def test_gateway_following_epp_routing_with_data_parallelism(suite: Suite, three: list[Pod]) -> None:
    """GatewayFollowingEPPRoutingWithDataParallelism: each port of a Pod is an endpoint of its own."""
    more = [subprocess.Popen(simulator(pod.address, MODEL, port=8001)) for pod in three]
    try:
        suite.apply(pool("primary", ports=(8000, 8001), annotated=True), route("r", PATH, ("primary", 1)))
        for pod in three:
            for port in (8000, 8001):
                to = f"{pod.address}:{port}"
                until(lambda to=to: suite.served(PATH, to) == to)
                assert many(suite, PATH, to, 20) == {to}
        both = {f"{three[0].address}:8000", f"{three[0].address}:8001"}
        assert many(suite, PATH, three[0].address) == both
    finally:
        for process in more:
            process.kill()
            process.wait()


def test_epp_unavailable_fail_open(suite: Suite, three: list[Pod]) -> None:
    """EppUnAvailableFailOpen: the picker is in the gateway, so nothing depends on the Service that is named."""
    suite.apply(pool("primary", annotated=True), route("r", PATH, ("primary", 1)))
    until(lambda: suite.served(PATH, three[0].address) == f"{three[0].address}:8000")
    suite.town.kubectl("patch", "service", "epp", "-p", '{"spec": {"selector": {"app": "nobody"}}}')
    assert many(suite, PATH, three[0].address) == {f"{three[0].address}:8000"}


def test_weighted_across_two_inference_pools(suite: Suite, town: Town, three: list[Pod]) -> None:
    """GatewayWeightedAcrossTwoInferencePools: seven of ten, and three."""
    other = town.pod("secondary")
    suite.apply(pool("primary"), pool("secondary"), route("r", PATH, ("primary", 70), ("secondary", 30)))
    until(lambda: suite.served(PATH) == f"{other.address}:8000")
    until(lambda: suite.served(PATH) == f"{three[0].address}:8000")
    with ThreadPoolExecutor(8) as pool_:
        answers = list(pool_.map(lambda _: suite.served(PATH), range(400)))
    share = answers.count(f"{other.address}:8000") / 400
    assert 0.2 < share < 0.4  # more than four standard deviations to both sides
    assert set(answers) <= {f"{pod.address}:8000" for pod in (*three, other)}


def test_an_invalid_inference_pool_ref(suite: Suite) -> None:
    """HTTPRouteInvalidInferencePoolRef."""
    suite.apply(route("r", PATH, ("nowhere", 1)))
    wanted = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}
    until(lambda: suite.conditions("httproute", "r") == wanted)
    assert suite.served(PATH) == "500"


def test_gateways_and_rules_with_different_pools(suite: Suite, town: Town, three: list[Pod]) -> None:
    """HTTPRouteMultipleGatewaysDifferentPools, HTTPRouteMultipleRulesDifferentPools."""
    other = town.pod("secondary")
    suite.apply(pool("primary"), pool("secondary"))
    suite.apply(route("a", PATH, ("primary", 1)), route("b", PATH, ("secondary", 1), gate="second"))
    until(lambda: suite.pool("primary") == GOOD and suite.pool("secondary", "second") == GOOD)
    primary = {f"{pod.address}:8000" for pod in three}
    until(lambda: suite.served(PATH) in primary and suite.served(PATH, port=8081) == f"{other.address}:8000")
    assert not suite.pool("primary", "second")
    # And two rules of one route.
    one, two = (
        yaml.safe_load(route("a", path, (name, 1))) for path, name in ((PATH, "primary"), ("/v1/chat", "secondary"))
    )
    one["spec"]["rules"] += two["spec"]["rules"]
    suite.apply(yaml.safe_dump(one))
    until(lambda: suite.pool("secondary") == GOOD)
    assert suite.served(PATH) in primary
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    answer = ask(suite.running.address, chat, "/v1/chat/completions")
    assert answer.headers["x-gateway-destination-endpoint-served"] == f"{other.address}:8000"


def test_a_pool_answers_to_its_gateways_until_no_route_leads_there(suite: Suite, three: list[Pod]) -> None:
    """InferencePoolResolvedRefsCondition."""
    suite.apply(pool("primary"))
    suite.apply(route("a", PATH, ("primary", 1)), route("b", PATH, ("primary", 1), gate="second"))
    until(lambda: suite.pool("primary") == suite.pool("primary", "second") == GOOD)
    primary = {f"{pod.address}:8000" for pod in three}
    until(lambda: {suite.served(PATH), suite.served(PATH, port=8081)} <= primary)
    suite.town.kubectl("delete", "httproute", "a")
    until(lambda: suite.pool("primary") == {} and suite.pool("primary", "second") == GOOD)
    assert suite.served(PATH) == "404"
    assert suite.served(PATH, port=8081) in primary
    suite.town.kubectl("delete", "httproute", "b")
    until(lambda: suite.pool("primary", "second") == {})
    assert suite.served(PATH, port=8081) == "404"


def test_the_port_of_a_reference_to_a_pool_is_ignored(suite: Suite, three: list[Pod]) -> None:
    """InferencePoolHTTPRoutePortValidation: none, the pool's own, another."""
    suite.apply(pool("primary"))
    for path, ref in (("/v1/completions", {}), ("/v1/chat", {"port": 8000}), ("/v1/models", {"port": 9999})):
        name = path.rpartition("/")[2]
        suite.apply(route(name, path, ("primary", 1), **ref))
        until(lambda name=name: suite.conditions("httproute", name) == GOOD)
    until(lambda: suite.pool("primary") == GOOD)
    assert suite.served(PATH) in {f"{pod.address}:8000" for pod in three}


def test_an_endpoint_picker_that_is_not_named_or_not_there(suite: Suite, three: list[Pod]) -> None:
    """InferencePoolMissingEPPRef. And not as InferencePoolInvalidEPPService has it: nobody needs that Service here."""
    missing = yaml.safe_load(pool("missing", "primary"))
    del missing["spec"]["endpointPickerRef"]
    nowhere = {"name": "nowhere", "port": {"number": 9002}}
    suite.apply(yaml.safe_dump(missing), pool("invalid", "primary", endpointPickerRef=nowhere))
    suite.apply(route("missing", "/v1/chat", ("missing", 1)), route("invalid", PATH, ("invalid", 1)))
    until(lambda: suite.pool("missing") == suite.pool("invalid") == GOOD)
    assert suite.conditions("httproute", "missing") == GOOD
    assert suite.served(PATH) in {f"{pod.address}:8000" for pod in three}
