"""What the canned model servers answer: bodies in vLLM's shape, written as files for bench/backend.c to read."""

import json
from pathlib import Path

from bench.page import MODEL as BASE
from bench.page import metrics_page

MODEL = "food-review"

# When the server sent an event, in ns of CLOCK_MONOTONIC: it writes the digits over these as the event goes out, so
# that the client, on the same machine, knows how long each chunk took. In a member that clients ignore.
STAMP = b"sent-0000000000000000000"

# One line per endpoint: requests waiting, KV-cache usage, adapters loaded. Different, so that the choice is a real one.
# More endpoints than these report the same again.
ENDPOINTS: tuple[tuple[int, float, tuple[str, ...]], ...] = (
    (0, 0.12, ("food-review", "cad-fabricator")),
    (1, 0.31, ("food-review",)),
    (0, 0.47, ("cad-fabricator", "travel-helper", "food-review")),
    (3, 0.78, ("travel-helper",)),
)
_ADAPTERS = ("food-review", "cad-fabricator", "travel-helper")


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chat() -> bytes:
    message = {"role": "assistant", "content": "Take the fennel; skip the custard."}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 143, "total_tokens": 152, "completion_tokens": 9}
    return _compact(
        {
            "id": "chatcmpl-5f1c0a7be2d94",
            "object": "chat.completion",
            "created": 1767225600,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }
    )


def _event(choices: list[object], **more: object) -> bytes:
    value = {"id": "chatcmpl-5f1c0a7be2d94", "object": "chat.completion.chunk", "created": 1767225600, "model": MODEL}
    stamp = {"system_fingerprint": STAMP.decode()}
    return b"data: " + _compact({**value, **stamp, "choices": choices, **more}) + b"\n\n"


def stream(events: int) -> bytes:
    """A stream of `events` that carry a token, and `[DONE]`, as a client gets it that did not ask for the usage."""

    def choice(delta: dict[str, str], finish: str | None = None) -> list[object]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    first = _event(choice({"role": "assistant", "content": ""}))
    middle = b"".join(_event(choice({"content": f" word{n}"})) for n in range(events - 2))
    return first + middle + _event(choice({"content": ""}, "stop")) + b"data: [DONE]\n\n"


CHAT = _chat()
USAGE_EVENT = _event([], usage={"prompt_tokens": 143, "total_tokens": 343, "completion_tokens": 200})


def _models() -> bytes:
    def model(name: str, root: str, parent: str | None, **more: object) -> object:
        fixed = {"object": "model", "created": 1767225600, "owned_by": "vllm"}
        return {"id": name, **fixed, "root": root, "parent": parent, **more, "permission": []}

    adapters = [model(name, f"/adapters/{name}", BASE) for name in _ADAPTERS]
    return _compact({"object": "list", "data": [model(BASE, BASE, None, max_model_len=131072), *adapters]})


def write_canned(directory: Path, endpoints: int, events: int) -> None:
    """The files that a canned backend serves, into `directory`; metrics-N.txt for the Nth endpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "chat.json").write_bytes(CHAT)
    (directory / "models.json").write_bytes(_models())
    (directory / "stream.sse").write_bytes(stream(events))
    (directory / "usage.sse").write_bytes(USAGE_EVENT)
    pages = [metrics_page(waiting, kv_usage, adapters) for waiting, kv_usage, adapters in ENDPOINTS]
    for at in range(endpoints):
        (directory / f"metrics-{at}.txt").write_text(pages[at % len(pages)])
