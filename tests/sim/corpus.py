"""The requests of recorded/requests.yaml, asked of a server; and vLLM's answers to them, as recorded."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

RECORDED = Path(__file__).parent / "recorded"
CASES: list[dict[str, Any]] = yaml.safe_load((RECORDED / "requests.yaml").read_text())
NAMES = [case["name"] for case in CASES]
ANSWERS = RECORDED / "answers.json"
ADAPTERS = ("food-review", "travel-notes")
LONG = "word " * 1500  # over the context of 1024 tokens with either tokenizer


def flags(models: Path) -> list[str]:
    """The flags of the server that the requests are for; the models are in `models`."""
    words = "--served-model-name tiny-llama --enable-lora --max-loras 2 --max-cpu-loras 12 --max-model-len 1024"
    return ["--model", str(models / "base"), *words.split(), "--lora-modules", f"food-review={models / 'food-review'}"]


ENVIRONMENT = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"}


def ask(host: str, port: int, case: Mapping[str, Any], models: Path) -> dict[str, Any]:
    """A server's answer to one case: `status`, `headers` as they came, `body` as text."""
    body, headers = None, {}
    if "json" in case:
        body = json.dumps(_filled(case["json"], models))
        headers["content-type"] = "application/json"
    elif "raw" in case:
        body = case["raw"]
        headers["content-type"] = "application/json"
    headers.update(case.get("headers", {}))
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        method = case.get("method") or ("GET" if body is None else "POST")
        connection.request(method, case["path"], body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        return {"status": answer.status, "headers": [list(pair) for pair in answer.getheaders()], "body": text}
    finally:
        connection.close()


def ask_all(host: str, port: int, models: Path) -> dict[str, dict[str, Any]]:
    """Its answers to all of them, in order."""
    return {case["name"]: ask(host, port, case, models) for case in CASES}


def read_answers(models: Path) -> dict[str, dict[str, Any]]:
    """vLLM's answers as recorded, as if its models had been in `models`."""
    return json.loads(ANSWERS.read_text().replace("$MODELS", str(models)))


def write_answers(answers: Mapping[str, Any], models: Path) -> None:
    """Record them; only what is compared of the answers whose bodies repeat another's."""
    told = {case["name"]: answers[case["name"]] | ({} if case.get("body", True) else {"body": ""}) for case in CASES}
    text = json.dumps(told, indent=0, ensure_ascii=False)
    ANSWERS.write_text(text.replace(str(models), "$MODELS") + "\n")


def _filled(value: Any, models: Path) -> Any:
    if isinstance(value, str):
        food, travel = (str(models / name) for name in ADAPTERS)
        return value.replace("$FOOD", food).replace("$TRAVEL", travel).replace("$LONG", LONG)
    if isinstance(value, dict):
        return {name: _filled(item, models) for name, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, models) for item in value]
    return value
