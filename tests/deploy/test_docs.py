"""What docs/deploy.md and the Dockerfile say is so."""

import re

import pytest
from rendered import ROOT, objects
from valid import faults

from headgate.api import Text, load
from headgate.cli import main
from headgate.plan import translate
from headgate.runtime.complaints import complaints

DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_first_manifest_can_be_applied_and_routes() -> None:
    text = re.findall(r"```yaml\n(.*?)```", DEPLOY, re.DOTALL)[0]
    assert not faults(objects(text))
    snapshot, _ = load([Text("first.yaml", text)])
    plan, statuses = translate(snapshot)
    assert list(plan.pools) == ["default/vllm-llama3-8b-instruct"]
    assert not complaints(statuses)


def test_the_drain_that_is_shown_is_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    shown = re.search(r"    \$ headgate (drain-time [^\n]*)\n(.*?)\n\n(?=\S)", DEPLOY, re.DOTALL)
    assert shown
    assert main(shown[1].split()) == 0
    assert capsys.readouterr().out.rstrip() == re.sub(r"^    ", "", shown[2], flags=re.MULTILINE)


def test_the_image_is_made_of_what_is_pinned_and_what_is_copied_is_not_left_out() -> None:
    extras = re.search(r'^ARG EXTRAS="(.*)"', DOCKERFILE, re.MULTILINE)
    assert extras
    for name in ("core", "build", *extras[1].split()):
        assert "--hash=sha256:" in (ROOT / "requirements" / f"{name}.txt").read_text()
    left_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    assert sorted(copied) == sorted(left_in)
    assert all((ROOT / name).exists() for name in copied)
    assert DOCKERFILE.count("pip install") == DOCKERFILE.count("--require-hashes") + DOCKERFILE.count("--no-index")
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.MULTILINE)
