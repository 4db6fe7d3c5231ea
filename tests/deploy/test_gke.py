"""deploy/gke: what guides apply on GKE. What `headgate check` and the schemas can tell of it without a cloud."""

import re

import pytest
from rendered import ROOT, objects
from valid import faults

from headgate.cli import main

GKE = ROOT / "deploy" / "gke"
GUIDES = sorted(path.name for path in GKE.iterdir() if path.is_dir())


@pytest.mark.parametrize("guide", GUIDES)
def test_headgate_check_finds_nothing_wrong(guide: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(GKE / guide)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert all("[note]" in line or "HTTPRoute default/llm-route is written again" in line for line in told), told


@pytest.mark.parametrize("guide", GUIDES)
def test_helm_would_not_stumble_over_what_was_applied_before(guide: str) -> None:
    """It refuses to install where an object is there that it did not make."""
    seen: dict[tuple[str, str], str] = {}
    for file in (GKE / guide).glob("*.yaml"):
        for one in objects(file.read_text()):
            other = seen.setdefault((one["kind"], one["metadata"]["name"]), file.name)
            assert other == file.name or "helm-" not in other + file.name, one["metadata"]["name"]


@pytest.mark.parametrize("guide", GUIDES)
def test_what_is_written_by_hand_is_valid(guide: str) -> None:
    for file in (GKE / guide).glob("*.yaml"):
        if not file.name.startswith("helm-"):  # those are rendered, and test_charts.py looks at them
            assert not faults(objects(file.read_text())), file


def test_the_readme_names_every_file_and_no_other() -> None:
    said = (GKE / "README.md").read_text()
    for guide in GUIDES:
        section = re.search(rf"^## .*\({guide}\)\n(.*?)(?=^## |\Z)", said, re.MULTILINE | re.DOTALL)
        assert section, f"deploy/gke/README.md has no section for {guide}"
        named = set(re.findall(r"`([-\w.]+\.(?:yaml|tf|tfvars))`", section[1]))
        assert named == {path.name for path in (GKE / guide).iterdir()}


def test_routes_and_models_name_pools_of_the_version_that_gke_has() -> None:
    for file in GKE.glob("*/*.yaml"):
        for one in objects(file.read_text()):
            if one["kind"] == "HTTPRoute":
                groups = [ref["group"] for rule in one["spec"]["rules"] for ref in rule["backendRefs"]]
                assert groups == ["inference.networking.k8s.io"], file
            if one["kind"] == "InferenceModel":
                assert one["spec"]["poolRef"]["group"] == "inference.networking.k8s.io", file
