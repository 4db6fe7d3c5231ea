"""The CustomResourceDefinitions that we print, by themselves: tests/kubernetes holds a real API server to them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.api import Text, load
from headgate.api.crds import crds
from headgate.api.crds.merging import KEYED, node
from headgate.api.crds.rules import RULES
from headgate.api.kinds import KINDS
from headgate.cli import main

HERE = Path(__file__).parent
DEFINITIONS = list(crds(gke=True))
LIMIT = 262144  # bytes: kubectl apply keeps the whole object in an annotation, and annotations have no room for more


def schemas() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(apiVersion, kind, schema) of every version."""
    for one in DEFINITIONS:
        for version in one["spec"]["versions"]:
            name = f"{one['spec']['group']}/{version['name']}"
            yield name, one["spec"]["names"]["kind"], version["schema"]["openAPIV3Schema"]


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for one in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if one is not None:
            yield from parts(one)


def faults(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """What an API server has against a value: types, bounds, forms, fields that are missing or not known."""
    if "type" not in schema:
        assert schema == {"x-kubernetes-preserve-unknown-fields": True}
        return
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if not isinstance(value, types[schema["type"]]) or (isinstance(value, bool) and schema["type"] == "integer"):
        yield f"{place} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} is none of {schema['enum']}"
    if schema["type"] == "integer" and not schema.get("minimum", -(2**31)) <= value <= schema.get("maximum", 2**31 - 1):
        yield f"{place} is out of bounds"
    if schema["type"] == "string" and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place} does not match"
    if schema["type"] in ("string", "array", "object"):
        unit = {"string": "Length", "array": "Items", "object": "Properties"}[schema["type"]]
        if not schema.get(f"min{unit}", 0) <= len(value) <= schema.get(f"max{unit}", len(value)):
            yield f"{place} has {len(value)}"
    if schema["type"] == "array":
        for i, one in enumerate(value):
            yield from faults(one, schema["items"], f"{place}[{i}]")
    if schema["type"] == "object" and "additionalProperties" in schema:
        for name, one in value.items():
            yield from faults(one, schema["additionalProperties"], f"{place}.{name}")
    elif "properties" in schema:
        yield from (f"{place}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, one in value.items():
            if name not in schema["properties"]:
                if not schema.get("x-kubernetes-preserve-unknown-fields"):
                    yield f"{place}.{name} is not known"
            elif one is not None:
                yield from faults(one, schema["properties"][name], f"{place}.{name}")


def test_every_part_is_structural() -> None:
    for part in (part for _, _, schema in schemas() for part in parts(schema)):
        if "type" not in part:
            assert part == {"x-kubernetes-preserve-unknown-fields": True}
            continue
        assert part["type"] in ("object", "array", "string", "integer", "boolean")
        assert ("items" in part) is (part["type"] == "array")
        if part.get("x-kubernetes-list-type") == "map":
            (key,) = part["x-kubernetes-list-map-keys"]
            assert key in part["items"]["required"]
        assert set(part.get("required", ())) <= set(part.get("properties", {}))


def test_defaults_are_what_the_schema_takes() -> None:
    written = 0
    for _, _, schema in schemas():
        for part in parts(schema):
            for name, one in part.get("properties", {}).items():
                if "default" in one:
                    written += 1
                    assert not list(faults(one["default"], one, name))
    assert written > 50


def test_what_is_published_of_defaults_is_there() -> None:
    found = {(version, kind): schema for version, kind, schema in schemas()}
    route = found["gateway.networking.k8s.io/v1", "HTTPRoute"]
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    assert node(route, "spec.rules")["default"] == [{"matches": [match]}]
    assert node(route, "spec.rules[].backendRefs[]")["properties"]["weight"]["default"] == 1
    assert node(route, "spec.rules[].backendRefs[]")["properties"]["group"]["default"] == ""
    assert "default" not in node(route, "spec.rules[].timeouts")["properties"]["request"]
    listener = node(found["gateway.networking.k8s.io/v1", "Gateway"], "spec.listeners[]")["properties"]
    assert listener["allowedRoutes"]["default"] == {"namespaces": {"from": "Same"}}
    assert "default" not in listener["hostname"]
    pool_group = "spec.poolRef.group"
    assert node(found["inference.networking.x-k8s.io/v1alpha2", "InferenceModel"], pool_group)["default"] == (
        "inference.networking.x-k8s.io"
    )
    assert node(found["llm-d.ai/v1alpha2", "InferenceObjective"], pool_group)["default"] == (
        "inference.networking.k8s.io"
    )


def test_every_kind_that_is_read_and_is_not_kubernetes_own_has_a_definition() -> None:
    read = {(version, kind) for kind, one in KINDS.items() for version in one.versions}
    defined = {(version, kind) for version, kind, _ in schemas()}
    assert defined <= read
    left = {kind for _, kind in read - defined}
    # Kubernetes' own; a file's content; and Envoy Gateway's, which belongs to it.
    assert left == {
        *("ConfigMap", "Deployment", "Namespace", "Pod", "Secret", "Service", "StatefulSet"),
        "EndpointPickerConfig",
        "SecurityPolicy",
    }


def test_one_version_of_each_is_stored_and_short_names_differ() -> None:
    taken: list[str] = []
    for one in DEFINITIONS:
        spec = one["spec"]
        assert [version["storage"] for version in spec["versions"]].count(True) == 1
        assert one["metadata"]["name"] == f"{spec['names']['plural']}.{spec['group']}"
        taken += spec["names"].get("shortNames", [])
    assert len(set(taken)) == len(taken)


def test_kubectl_apply_has_room_for_each() -> None:
    for one in DEFINITIONS:
        assert len(json.dumps(one)) < LIMIT / 2, one["metadata"]["name"]


def test_what_can_be_read_fits_the_schemas() -> None:
    found = {(version, kind): schema for version, kind, schema in schemas()}
    seen = 0
    for path in (*HERE.glob("valid/*.yaml"), *HERE.parents[1].glob("examples/*/*.yaml")):
        for obj in yaml.safe_load_all(path.read_text()):
            schema = found.get((obj.get("apiVersion"), obj.get("kind"))) if isinstance(obj, dict) else None
            _, problems = load([Text("in.yaml", yaml.safe_dump(obj))])
            if schema is None or any(one.severity == "error" for one in problems):
                continue
            seen += 1
            told = list(faults(obj["spec"], schema["properties"]["spec"], "spec"))
            assert not told, f"{path}: {obj['kind']} {obj['metadata']['name']}: {told}"
    assert seen > 20


def test_rules_are_where_something_stands_and_can_be_left_out() -> None:
    written = json.dumps(DEFINITIONS)
    assert all(json.dumps(message) in written for rules in RULES.values() for _, _, message in rules)
    assert "x-kubernetes-validations" not in json.dumps(list(crds(gke=True, rules=False)))
    assert set(KEYED) <= set(KINDS)


def test_the_command_prints_what_kubectl_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crds"]) == 0
    text = capsys.readouterr().out
    assert list(yaml.safe_load_all(text)) == list(crds())
    assert "&id" not in text
    assert main(["crds", "--gke", "--no-rules", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == list(crds(gke=True, rules=False))
