"""What vLLM 0.32 answered, as recorded: bodies by the names of the requests (tests/sim/recorded/requests.yaml)."""

import json
from pathlib import Path
from typing import Any

_ANSWERS = json.loads((Path(__file__).parents[1] / "sim" / "recorded" / "answers.json").read_text())


def bodies(kind: str) -> dict[str, bytes]:
    """Of the answers with status 200 and a content type that begins so."""
    return {
        name: answer["body"].encode()
        for name, answer in _ANSWERS.items()
        if answer["status"] == 200 and dict(answer["headers"]).get("content-type", "").startswith(kind)
    }


def events(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream whose data is JSON."""
    data = [line[5:] for line in stream.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data:")]
    return [json.loads(text) for text in data if text.strip() != b"[DONE]"]
