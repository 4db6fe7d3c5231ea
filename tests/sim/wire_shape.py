"""Whether two servers answered alike: status, headers, structure of JSON, framing of streams, families of metrics.

What a model says and how long it takes is its own affair; all else must agree. `differences` returns lines for people.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Values that must be the same, not only of the same type.
STABLE = {
    "object", "role", "type", "param", "code", "message", "detail", "owned_by", "parent", "model", "root",
    "finish_reason", "stop_reason", "status", "version", "service_tier", "truncation", "index", "max_model_len",
    "incomplete_details", "reason", "instructions", "metadata", "temperature", "top_p", "max_output_tokens",
    "tool_choice", "server_load", "prompt_tokens_details", "sequence_number", "output_index", "content_index",
}  # fmt: skip
# Objects whose keys are tokens: only what they map to is compared.
KEYED_BY_TOKEN = {"top_logprobs", "prompt_logprobs"}
HEADERS = {"content-type", "vary", "allow", "server", "transfer-encoding", "location"}
# Which stop string was met first is chance.
CHANCE = {"stop_reason", "stop_sequence"}


def differences(real: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """How two recorded answers (`status`, `headers`, `body`) differ; the first is the one to be like."""
    if real["status"] != ours["status"]:
        return [f"status {real['status']} became {ours['status']}: {ours['body'][:300]}"]
    return [*_headers(real, ours), *_bodies(real, ours)]


def _headers(real: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    theirs = {name.lower(): value for name, value in real["headers"]}
    mine = {name.lower(): value for name, value in ours["headers"]}
    for name in sorted(theirs.keys() ^ mine.keys()):
        yield f"header {name}: {theirs.get(name)!r} became {mine.get(name)!r}"
    for name in sorted(theirs.keys() & mine.keys()):
        if name in HEADERS or name.startswith("access-control-"):
            expected, found = (re.sub(r"//[^/]+", "//host", values[name]) for values in (theirs, mine))
            if expected != found:
                yield f"header {name}: {expected!r} became {found!r}"


def _bodies(real: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    kind = {name.lower(): value for name, value in real["headers"]}.get("content-type", "")
    expected, found = real["body"], ours["body"]
    if not expected or not found:
        if expected or found:
            yield f"body {expected[:80]!r} became {found[:80]!r}"
    elif kind.startswith("application/json"):
        yield from _shapes("", _shape(json.loads(expected)), _shape(json.loads(found)))
    elif kind.startswith("text/event-stream"):
        yield from _framing(expected, found)
    elif kind.startswith("text/plain; version="):
        yield from _metrics(expected, found)
    elif not kind.startswith("text/html") and expected != found:
        yield f"body {expected!r} became {found!r}"


# JSON


def _shape(value: Any, key: str = "") -> Any:
    """A value with everything taken out that may differ."""
    if isinstance(value, dict):
        if key in KEYED_BY_TOKEN and "token" not in value:
            return {"<token>": _merged([_shape(item) for item in value.values()])}
        return {name: _shape(item, name) for name, item in value.items()}
    if isinstance(value, list):
        if key == "bytes":
            return "bytes"  # of a token, which may have none
        return [_merged([_shape(item, key if key in KEYED_BY_TOKEN else "") for item in value])]
    if key == "message" and isinstance(value, str):
        return re.sub(r"(Vocabulary size: |logprobs of |value=)\d+", r"\1N", value)
    if key in STABLE and key not in CHANCE:
        return ("=", value)
    return "null" if value is None else type(value).__name__


def _merged(shapes: list[Any]) -> Any:
    """The different shapes among items."""
    distinct: list[Any] = []
    for shape in shapes:
        if shape not in distinct:
            distinct.append(shape)
    return sorted(distinct, key=repr)


def _shapes(place: str, expected: Any, found: Any) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected.keys() | found.keys():
            if name not in found or name not in expected:
                yield f"{place}.{name}: {expected.get(name, 'absent')} became {found.get(name, 'absent')}"
            else:
                yield from _shapes(f"{place}.{name}", expected[name], found[name])
        if list(expected) != list(found) and expected.keys() == found.keys():
            yield f"{place}: the order {list(expected)} became {list(found)}"
    elif isinstance(expected, list) and isinstance(found, list):
        if expected == [[]] or found == [[]]:
            return  # an empty list has any shape
        if expected != found:
            both = (*expected[0], *found[0])
            if len(expected[0]) == len(found[0]) == 1 and all(isinstance(shape, dict) for shape in both):
                yield from _shapes(f"{place}[]", expected[0][0], found[0][0])
            else:
                yield f"{place}[]: {expected[0]} became {found[0]}"
    elif expected != found:
        yield f"{place}: {expected} became {found}"


# Streams


def events(body: str) -> list[tuple[str, Any]]:
    """The (type, data) of each event of a stream; data that is not JSON stays text."""
    told = []
    for block in body.split("\n\n"):
        if not block:
            continue
        kind, data = "", None
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value if value == "[DONE]" else json.loads(value)
            else:
                raise ValueError(f"not a line of an event stream: {line!r}")
        told.append((kind, data))
    return told


def _framing(expected: str, found: str) -> Iterator[str]:
    theirs, mine = _tracks(expected), _tracks(found)
    for track in sorted(theirs.keys() | mine.keys()):
        first, second = theirs.get(track, []), mine.get(track, [])
        if len(first) != len(second):
            yield f"stream of {track}: {len(first)} kinds of events in a row became {len(second)}:"
            yield from (f"    {event}" for event in first)
            yield "  became"
            yield from (f"    {event}" for event in second)
            continue
        for step, (one, other) in enumerate(zip(first, second, strict=True)):
            if one[0] != other[0]:
                yield f"stream of {track}, event {step}: {one[0]!r} became {other[0]!r}"
            yield from _shapes(f"stream of {track}, event {step}", one[1], other[1])


def _tracks(body: str) -> dict[str, list[tuple[str, Any]]]:
    """For each choice (choices may overtake each other), its events, equal ones in a row told once."""
    tracks: dict[str, list[tuple[str, Any]]] = {}
    for kind, data in events(body):
        if isinstance(data, dict):
            data.pop("sequence_number", None)  # counts the tokens before it
        choices = data.get("choices") if isinstance(data, dict) else None
        track = f"choice {choices[0]['index']}" if choices else "all"
        shape = (kind, _shape(data) if isinstance(data, dict) else data)
        steps = tracks.setdefault(track, [])
        if not steps or steps[-1] != shape:
            steps.append(shape)
    return tracks


# Metrics

_SAMPLE = re.compile(r"([a-zA-Z_:]+[a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_OPEN_LABELS = {"running_lora_adapters", "waiting_lora_adapters", "patchlevel", "minor", "version"}
_OWN_CONFIG = {"vllm:cache_config_info"}


def families(page: str) -> dict[str, dict[str, Any]]:
    """A metrics page by family: type, help, and its samples as (name, labels); label values of chance are left out."""
    found: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            current = found[name] = {"help": text, "samples": set()}
        elif line.startswith("# TYPE "):
            current["type"] = line.split(" ")[3]
        elif line:
            match = _SAMPLE.match(line)
            assert match, line
            float(match[3])
            pairs = _LABEL.findall(match[2] or "")
            own = match[1] in _OWN_CONFIG
            labels = tuple((name, "" if own or name in _OPEN_LABELS else value) for name, value in pairs)
            current["samples"].add((match[1], labels))
    return found


def _metrics(expected: str, found: str) -> Iterator[str]:
    theirs, mine = families(expected), families(found)
    if list(theirs) != list(mine) and theirs.keys() == mine.keys():
        yield "the families come in another order"
    for name in sorted(theirs.keys() | mine.keys()):
        if name not in mine or name not in theirs:
            yield f"family {name}: {'missing' if name in theirs else 'not in vLLM'}"
            continue
        for part in ("type", "help"):
            if theirs[name][part] != mine[name][part]:
                yield f"family {name}: {part} {theirs[name][part]!r} became {mine[name][part]!r}"
        for sample in sorted(theirs[name]["samples"] - mine[name]["samples"]):
            yield f"family {name}: {sample} is missing"
        for sample in sorted(mine[name]["samples"] - theirs[name]["samples"]):
            yield f"family {name}: {sample} is not in vLLM"
