"""Our CustomResourceDefinitions on a real API server: it takes what `headgate check` takes, and refuses the rest."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from control_plane import RULES_SINCE, ControlPlane
from extension_server import ExtensionServer
from msgspec.structs import replace

from headgate.api import Text, load
from headgate.api.crds import crds
from headgate.api.kinds import KINDS, Version

ROOT = Path(__file__).parents[2]
API = ROOT / "tests" / "api"
OURS = {
    (f"{one['spec']['group']}/{version['name']}", one["spec"]["names"]["kind"]): one["spec"]
    for one in crds(gke=True)
    for version in one["spec"]["versions"]
}
TABLES = ("filters", "gateway", "header", "inference", "policy", "route", "tls")

# What `headgate check` refuses and an API server can not know, by the words it says it with.
_ONLY_HERE = (
    "is no regular expression",
    "uses .*, which RE2 does not have",
    r"metadata\.annotations\[",
)
# What old servers leave to kubectl: fields that there are not.
_ONLY_KUBECTL = ("there is no such field", "it does not belong here")


def collection(obj: dict[str, Any]) -> str:
    """The path at which objects of one of our kinds are made."""
    spec = OURS[obj["apiVersion"], obj["kind"]]
    namespaced = "namespaces/default/" if spec["scope"] == "Namespaced" else ""
    return f"/apis/{obj['apiVersion']}/{namespaced}{spec['names']['plural']}"


def ours(text: str) -> Iterator[dict[str, Any]]:
    """The objects of our kinds in a file, each as if it were in the namespace default."""
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return
    for one in documents:
        items = one["items"] if isinstance(one, dict) and isinstance(one.get("items"), list) else [one]
        for obj in items:
            if isinstance(obj, dict) and (obj.get("apiVersion"), obj.get("kind")) in OURS:
                if isinstance(obj.get("metadata"), dict):
                    obj["metadata"].pop("namespace", None)
                obj.pop("status", None)
                yield obj


def written(obj: dict[str, Any]) -> str:
    return yaml.safe_dump(obj, sort_keys=False)


def errors(obj: dict[str, Any]) -> list[str]:
    """What `headgate check` says is wrong with it."""
    _, problems = load([Text("in.yaml", written(obj))])
    return [str(one) for one in problems if one.severity == "error"]


def valid_files() -> list[Path]:
    return [
        *sorted(API.glob("valid/*.yaml")),
        *sorted(ROOT.glob("tests/golden/*/in.yaml")),
        *sorted(ROOT.glob("tests/conformance/*/in.yaml")),
        *sorted(ROOT.glob("examples/**/*.yaml")),
    ]


def test_every_definition_is_established_and_structural(cluster: ControlPlane) -> None:
    for definition in cluster.get("crd")["items"]:
        conditions = {one["type"]: one for one in definition["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True", definition["metadata"]["name"]
        assert conditions["NamesAccepted"]["status"] == "True", definition["metadata"]["name"]
        assert "NonStructuralSchema" not in conditions, conditions.get("NonStructuralSchema")


def test_what_can_be_read_can_be_applied(judge: ControlPlane | ExtensionServer) -> None:
    refused = {}
    seen = 0
    for path in valid_files():
        for obj in ours(path.read_text()):
            if errors(obj):
                continue
            seen += 1
            if told := judge.refusal(collection(obj), obj):
                refused[f"{path.relative_to(ROOT)} {obj['kind']} {obj['metadata']['name']}"] = told
    assert seen > 200
    assert not refused, "\n".join(f"{place}: {told}" for place, told in refused.items())


def schemas_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `headgate check` know no rules between fields, as an old server does not."""
    kinds = {
        kind: replace(one, versions={name: Version(each.shape, each.read) for name, each in one.versions.items()})
        for kind, one in KINDS.items()
    }
    monkeypatch.setattr("headgate.api.header.KINDS", kinds)


@pytest.mark.parametrize("table", TABLES)
def test_what_can_not_be_read_can_not_be_applied(
    judge: ControlPlane | ExtensionServer, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beyond = _ONLY_HERE
    if judge.version < RULES_SINCE:
        schemas_alone(monkeypatch)
        beyond += _ONLY_KUBECTL
    taken = []
    seen = 0
    for case in yaml.safe_load((API / "broken" / f"{table}.yaml").read_text()):
        for text in (case.get("files") or {"": case["manifest"]}).values():
            for obj in ours(text):
                wrong = [one for one in errors(obj) if not any(re.search(words, one) for words in beyond)]
                if wrong:
                    seen += 1
                    if not judge.refusal(collection(obj), obj):
                        taken.append(f"{case['name']}: {'; '.join(wrong)}")
    assert seen
    assert not taken, "\n".join(taken)
