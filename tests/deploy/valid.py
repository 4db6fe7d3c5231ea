"""Is an object one that an API server would take? The built-in kinds by Kubernetes' own schemas, strictly; ours by
what `headgate check` reads; those of others by `kinds.yaml`, which has the fields that we write."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

from headgate.api import Text, load
from headgate.api.kinds import KINDS

KUBERNETES = "1.30"  # the oldest that the charts say they need
utils.schema_contents = cache(utils.schema_contents)  # else it reads all definitions anew for each object
_BUILT_IN = ("v1", "apps/v1", "policy/v1", "autoscaling/v2", "rbac.authorization.k8s.io/v1")


@cache
def _others() -> dict[str, jsonschema.Draft202012Validator]:
    kinds = yaml.load((Path(__file__).parent / "kinds.yaml").read_text(), yaml.CSafeLoader)
    return {key: jsonschema.Draft202012Validator(_strict(schema)) for key, schema in kinds.items()}


def _strict(schema: Any) -> Any:
    """Objects have the properties that are written, and no others."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema = {"type": "object", "additionalProperties": False, **schema}
        return {key: _strict(value) for key, value in schema.items()}
    return [_strict(one) for one in schema] if isinstance(schema, list) else schema


def faults(objects: Iterable[dict[str, Any]]) -> list[str]:
    objects = list(objects)
    found: list[str] = []
    for one in objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["apiVersion"] in _BUILT_IN:
            try:
                kubernetes_validate.validate(one, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{name}: {error.message}")
            continue
        key = f"{one['apiVersion']}/{one['kind']}"
        if key in _others():
            bare = {field: value for field, value in one.items() if field not in ("apiVersion", "kind", "metadata")}
            found += [f"{name}: {error.json_path}: {error.message}" for error in _others()[key].iter_errors(bare)]
        elif one["kind"] not in KINDS or one["apiVersion"] not in KINDS[one["kind"]].versions:
            found.append(f"{name}: nobody here knows {key}: write its fields into tests/deploy/kinds.yaml")
    _, problems = load([Text("rendered.yaml", yaml.dump_all(objects, Dumper=yaml.CSafeDumper))])
    return found + [str(one) for one in problems if one.severity != "note"]
