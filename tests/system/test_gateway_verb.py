"""`headgate gateway`: in front of servers that already run, one of them dead; and `explain` for all that can happen."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from running import Running
from written import GATEWAY, POOL, ROUTE, write

_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: vllm}}
  annotations: {{headgate.dev/address: "{address}:{port}"}}
"""
_MODEL = """\
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: promised}
spec: {modelName: promised, poolRef: {name: pool}, targetModels: [{name: not-loaded-yet, weight: 1}]}
"""
_DEAD, _ALIVE = 8101, 8102


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("gateway")
    manifests = directory / "manifests"
    running = Running(directory, manifests, verb="gateway", args=("--wait", "0.5"))
    address = f"{running.address.rsplit('.', 2)[0]}.251.1"  # the server is not one of the gateway's own
    pods = {
        name: _POD.format(name=name, address=address, port=port) for name, port in (("dead", _DEAD), ("alive", _ALIVE))
    }
    write(manifests, gateway=GATEWAY, route=ROUTE, pool=POOL, model=_MODEL, **pods)
    command = [sys.executable, "-m", "headgate", "sim", "--model", "base", "--speed", "0"]
    server = subprocess.Popen(
        [*command, "--host", address, "--port", str(_ALIVE)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        running.until(lambda: _ask(f"http://{address}:{_ALIVE}", "base", "") == 200, 20)
        with running as gate:
            yield gate
    finally:
        server.terminate()
        server.wait(10)


def _ask(url: str, model: str, request_id: str) -> int | None:
    request = urllib.request.Request(
        f"{url}/v1/completions",
        json.dumps({"model": model, "prompt": "Hi", "max_tokens": 2}).encode(),
        {"content-type": "application/json", "x-request-id": request_id},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_what_is_shown_goes_to_people_and_the_access_log_to_programs(gate: Running) -> None:
    assert gate.said("ENDPOINTS")
    assert _ask(f"http://{gate.address}:8080", "base", "logged") == 200
    gate.until(lambda: any('"logged"' in line for line in gate.output))
    assert all(json.loads(line)["status"] for line in gate.output)


def test_an_endpoint_that_does_not_answer_is_shown_with_the_reason(gate: Running) -> None:
    notes = {str(row["endpoint"]): str(row["note"]) for row in gate.get("endpoints")}
    assert notes["default/alive-rank-0"] == ""
    assert notes["default/dead-rank-0"].startswith("GET /")
    assert {row["phase"] for row in gate.get("pods")} == {"Outside"}


def test_a_request_that_met_a_dead_endpoint_tells_of_both(gate: Running) -> None:
    for number in range(50):
        assert _ask(f"http://{gate.address}:8080", "base", f"again-{number}") == 200
        told = json.loads(gate.run("explain", f"again-{number}", "-o", "json").stdout)
        if len(told["decisions"]) == 2:
            first, second = told["decisions"]
            assert first["chosen"] == "default/dead-rank-0"
            assert second["chosen"] == "default/alive-rank-0"
            assert second["removed"] == {"not-tried": ["default/dead-rank-0"]}
            assert "try 2" in gate.run("explain", f"again-{number}").stdout
            return
    raise AssertionError("the dead endpoint was never chosen first")


def test_requests_that_were_refused_are_explained_too(gate: Running) -> None:
    url = f"http://{gate.address}:8080"
    assert _ask(url, "nobody-has-it", "unknown") == 404
    text = gate.run("explain", "unknown").stdout
    assert "The model `nobody-has-it` does not exist" in text
    assert _ask(url, "promised", "in-vain") == 503
    text = gate.run("explain", "in-vain").stdout
    assert "for an endpoint or an adapter, in vain" in text
    assert "model     promised → not-loaded-yet" in text
