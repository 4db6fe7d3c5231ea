"""curl, with all its ways of sending and receiving."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from planes import PLANES, flags
from running import Running
from written import system

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt install curl")

CHAT = json.dumps({"model": "food-review", "messages": [{"role": "user", "content": "Hello"}]})
STREAM = json.dumps({**json.loads(CHAT), "stream": True})
BIG = json.dumps({"model": "base", "max_tokens": 1, "messages": [{"role": "user", "content": "x " * 60_000}]})
JSON = ("-H", "content-type: application/json")


@pytest.fixture(scope="module", params=PLANES)
def gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("curl")
    manifests = system(directory / "manifests")
    (manifests / "vllm.yaml").write_text(
        (manifests / "vllm.yaml").read_text().replace('"2"', '"2", --max-model-len, "200000"')
    )
    with Running(directory, manifests, args=("--sim-speed", "0", *flags(request.param))) as running:
        yield running


def curl(gate: Running, *words: str, path: str = "/v1/chat/completions", given: str = "") -> tuple[str, dict[str, str]]:
    """The answer's body, and what curl says of it."""
    told = "%{stderr}%{http_code} %{http_version} %{num_connects} %{time_total}\\n"
    command = ["curl", "-sS", "--max-time", "20", "-w", told, *words, f"http://{gate.address}:8080{path}"]
    done = subprocess.run(command, input=given, text=True, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    names = ("status", "version", "connects", "seconds")
    return done.stdout, dict(zip(names, done.stderr.split("\n")[-2].split(), strict=True))


def content(body: str) -> str:
    said = json.loads(body)["choices"][0]["message"]["content"]
    assert isinstance(said, str)
    return said


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2", "--http0.9"])
def test_every_version_that_curl_offers_gets_an_answer(gate: Running, version: str) -> None:
    body, said = curl(gate, version, *JSON, "-d", CHAT)
    assert content(body)
    own = "1" if (gate.plane, version) == ("envoy", "--http1.0") else "1.1"
    assert (said["status"], said["version"]) == ("200", own)


def test_http_1_0_streams_until_the_connection_ends(gate: Running) -> None:
    body, _ = curl(gate, "--http1.0", "-N", *JSON, "-d", STREAM)
    assert body.rstrip().endswith("data: [DONE]")


def test_a_client_that_expects_100_continue_need_not_wait_for_its_patience_to_end(gate: Running) -> None:
    body, said = curl(gate, *JSON, "-H", "expect: 100-continue", "--expect100-timeout", "15", "-d", "@-", given=BIG)
    assert content(body)
    assert float(said["seconds"]) < 10


def test_an_upload_of_unknown_length_comes_in_chunks(gate: Running) -> None:
    for given in (CHAT, BIG):
        body, said = curl(gate, "-X", "POST", "-T", "-", *JSON, given=given)
        assert (content(body) != "", said["status"]) == (True, "200")


def test_a_stream_comes_through_whole(gate: Running) -> None:
    body, _ = curl(gate, "-N", *JSON, "-d", STREAM)
    events = [line.removeprefix("data: ") for line in body.split("\n") if line]
    assert events[-1] == "[DONE]"
    assert {json.loads(event)["model"] for event in events[:-1]} == {"food-review"}


def test_one_connection_serves_request_after_request(gate: Running) -> None:
    url = f"http://{gate.address}:8080/v1/chat/completions"
    more = [
        word
        for _ in range(9)
        for word in ("--next", "-sS", "-w", "%{stderr}%{num_connects}\\n", *JSON, "-d", CHAT, url)
    ]
    command = ["curl", "-sS", "-w", "%{stderr}%{num_connects}\\n", *JSON, "-d", CHAT, url, *more]
    done = subprocess.run(command, text=True, capture_output=True, timeout=30, check=True)
    assert done.stderr.split() == ["1"] + ["0"] * 9
    assert done.stdout.count("chat.completion") == 10


def test_head_options_and_odd_targets(gate: Running) -> None:
    head, said = curl(gate, "-I", path="/v1/models")
    assert said["status"] == "200"
    assert "content-length" in head.lower()
    about_all = "204" if gate.plane == "native" else "404"  # Envoy knows of no request about itself
    assert curl(gate, "-X", "OPTIONS", "--request-target", "*", path="/")[1]["status"] == about_all
    assert curl(gate, "--path-as-is", path="/v1/../v1/./models")[1]["status"] == "200"
    assert curl(gate, "-H", "Host:", path="/v1/models")[1]["status"] == "400"


def test_who_speaks_http_2_unasked_is_told_or_understood_and_the_next_one_served(gate: Running) -> None:
    url = f"http://{gate.address}:8080/v1/models"
    done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", url], capture_output=True, text=True, timeout=20)
    assert (done.returncode == 0) == (gate.plane == "envoy")
    assert curl(gate, path="/v1/models")[1]["status"] == "200"


def test_a_client_that_hangs_up_in_the_middle_of_its_upload_leaves_nothing(gate: Running, tmp_path: Path) -> None:
    (tmp_path / "big").write_text(BIG)
    url = f"http://{gate.address}:8080/v1/chat/completions"
    command = ["curl", "-sS", "--limit-rate", "20k", "--max-time", "0.5", *JSON, "-d", f"@{tmp_path / 'big'}", url]
    assert subprocess.run(command, capture_output=True, timeout=20).returncode == 28
    gate.until(lambda: all(row["in_flight"] == 0 for row in gate.get("endpoints")))
    assert curl(gate, path="/v1/models")[1]["status"] == "200"
