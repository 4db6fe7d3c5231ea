"""Prefill and decode by different servers, over sockets: gateway, sidecar and servers, by the manifests of the docs."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import outside
from running import ROOT, Running
from written import GATEWAY, POOL, ROUTE, write

LONG = "All of this is new to you. " * 200  # 1,350 tokens


def manifests() -> str:
    text = (ROOT / "docs" / "disaggregation.md").read_text()
    found = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


class Gate(outside.Gate):
    """`headgate up` of what the documentation has."""

    def __init__(self, state: Path) -> None:
        directory = state / "manifests"
        write(directory, gateway=GATEWAY, route=ROUTE, pool=POOL, servers=manifests())
        Running.__init__(self, state, directory, args=("--sim-speed", "20"))

    def ask(self, prompt: str, **headers: str) -> dict[str, Any]:
        """The decision of a request that is made now."""
        body = json.dumps({"model": "base", "prompt": prompt, "max_tokens": 3, "stream": True}).encode()
        request = urllib.request.Request(
            f"http://{self.address}:8080/v1/completions", body, {"content-type": "application/json", **headers}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.read().count(b"data: ") >= 4
            number = answer.headers["x-request-id"]
        told: dict[str, Any] = json.loads(self.run("explain", number, "-o", "json").stdout)["decisions"][-1]
        return told

    def counted(self, address: object, name: str) -> float:
        """A metric of one server."""
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
            found = re.search(rf"^{re.escape(name)} (\S+)$", page.read().decode(), re.MULTILINE)
        assert found, name
        return float(found[1])


COMPUTED = 'vllm:prompt_tokens_by_source_total{engine="0",model_name="base",source="local_compute"}'
PULLED = 'vllm:prompt_tokens_by_source_total{engine="0",model_name="base",source="external_kv_transfer"}'
USED = 'vllm:kv_cache_usage_perc{engine="0",model_name="base"}'


def test_a_long_prompt_is_computed_by_one_server_and_answered_by_another(tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        assert not gate.said("not split")
        told = gate.ask(LONG, **{"x-prefiller-host-port": "192.0.2.1:1"})  # a client has no say in it
        decodes, (stage,) = told["address"], told["stages"]
        prefills = stage["address"]
        assert (told["profile"], stage["profile"]) == ("decode", "prefill")
        assert decodes != prefills
        tokens = gate.counted(prefills, COMPUTED)
        assert tokens > 1300
        assert gate.counted(decodes, PULLED) == tokens
        assert gate.counted(decodes, COMPUTED) == 0
        gate.until(lambda: gate.counted(prefills, USED) == 0)
        again = gate.ask(LONG + "And this?")  # all but a few tokens are cached where it is decoded
        assert (again["address"], again.get("stages", [])) == (decodes, [])
        assert gate.counted(decodes, PULLED) == tokens
        assert gate.counted(decodes, COMPUTED) < 40
