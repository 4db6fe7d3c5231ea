"""Keys and accounts with a real client: who may ask, what it cost, and what the client sees of that."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from planes import PLANES, flags
from running import Running
from written import GATEWAY, system, write

_CLOSED = GATEWAY.replace("{name: gw}", "{name: gw, annotations: {headgate.dev/api-keys: clients}}")
_SECRET = "{{apiVersion: v1, kind: Secret, metadata: {{name: clients}}, stringData: {{alice: {alice}, bob: sk-bob}}}}"
_ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 9,
    "extra_body": {"ignore_eos": True},
}


@pytest.fixture(scope="module", params=PLANES)
def up(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    directory = tmp_path_factory.mktemp("keys")
    manifests = system(directory / "manifests")
    write(manifests, gateway=_CLOSED, keys=_SECRET.format(alice="sk-alice"))
    with Running(directory, manifests, args=("--access-log", "-", *flags(request.param))) as running:
        yield running, manifests


def _client(running: Running, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://{running.address}:8080/v1", api_key=key, max_retries=0, timeout=20)


def _line(running: Running, request_id: str) -> dict[str, Any]:
    """Of the access log."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [line for line in map(json.loads, running.output) if line["id"] == request_id]
        return bool(found)

    running.until(there)
    return found[0]


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_has_usage_where_the_client_asks_and_is_accounted_in_any_case(
    up: tuple[Running, Path], asked: bool, n: int
) -> None:
    running, _ = up
    request_id = f"stream-{asked}-{n}"
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    stream = _client(running, "sk-alice").chat.completions.create(
        model="food-review", stream=True, n=n, extra_headers={"x-request-id": request_id}, **_ASKED, **options
    )
    chunks = list(stream)
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(told) == asked
    assert [chunk for chunk in chunks if not chunk.choices] == (chunks[-1:] if asked else [])
    assert sum(bool(choice.finish_reason) for chunk in chunks for choice in chunk.choices) == n
    line = _line(running, request_id)
    assert (line["client"], line["model"], line["stream"]) == ("alice", "food-review", True)
    assert line["completion_tokens"] == 9 * n
    assert line["prompt_tokens"] > 0
    if asked:
        assert (told[0].prompt_tokens, told[0].completion_tokens) == (line["prompt_tokens"], line["completion_tokens"])
    assert f"completion {9 * n}\n" in running.run("explain", request_id).stdout


def test_each_api_is_accounted_alike(up: tuple[Running, Path]) -> None:
    running, _ = up
    client = _client(running, "sk-bob")
    chat = client.chat.completions.create(model="base", extra_headers={"x-request-id": "chat"}, **_ASKED)
    assert chat.usage is not None
    assert _line(running, "chat")["completion_tokens"] == chat.usage.completion_tokens == 9
    done = client.completions.create(
        model="base", prompt="Once", max_tokens=4, stream=True, extra_headers={"x-request-id": "completion"}
    )
    assert all(chunk.choices and chunk.usage is None for chunk in done)
    assert _line(running, "completion")["completion_tokens"] <= 4
    events = client.responses.create(
        model="base", input="Hi", max_output_tokens=5, stream=True, extra_headers={"x-request-id": "response"}
    )
    usage = next(event.response.usage for event in events if event.type == "response.completed")
    assert usage is not None
    assert _line(running, "response")["completion_tokens"] == usage.output_tokens
    assert _line(running, "response")["client"] == "bob"


def test_without_a_key_that_is_in_force_nothing_is_served(up: tuple[Running, Path]) -> None:
    running, manifests = up
    with pytest.raises(openai.AuthenticationError) as refused:
        _client(running, "sk-eve").models.list()
    assert refused.value.code == "invalid_api_key"
    assert refused.value.response.headers["www-authenticate"] == "Bearer"

    def let_in(key: str) -> bool:
        try:
            return bool(_client(running, key).models.list().data)
        except openai.AuthenticationError:
            return False

    assert let_in("sk-alice")
    write(manifests, keys=_SECRET.format(alice="sk-newer"))
    running.until(lambda: let_in("sk-newer"))
    assert not let_in("sk-alice")
    assert let_in("sk-bob")
    write(manifests, keys=_SECRET.format(alice="sk-alice"))
    running.until(lambda: let_in("sk-alice"))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_is_shown_of_the_plan_has_clients_and_no_keys(up: tuple[Running, Path], form: str) -> None:
    running, manifests = up
    shown = running.run("translate", str(manifests), "-o", form)
    assert shown.returncode == 0
    assert "alice" in shown.stdout
    assert "sealed" in shown.stdout
    assert "sk-" not in shown.stdout + shown.stderr
