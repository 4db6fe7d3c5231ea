"""What Envoy is told for every case: in.yaml → envoy/*.yaml, and Envoy itself takes all of it.

Left out is what is the same in all of them: the bootstrap, endpoints (nobody runs), and listeners of plain HTTP.
"""

import subprocess
from pathlib import Path

import pytest
from authority import Authority

from headgate.api import Text, load
from headgate.envoy.render import Settings, encode, render
from headgate.envoy.render.tls import secrets
from headgate.envoy.render.whole import in_one
from headgate.plan import translate
from headgate.plan.plan import Plan
from headgate.runtime.addresses import assign
from headgate.runtime.envoy.binary import find_envoy
from headgate.runtime.envoy.sockets import sockets

CASES = sorted(path.parent for path in Path(__file__).parent.glob("*/in.yaml"))
FOLDER = "/etc/headgate"


def plan_of(case: Path) -> Plan:
    snapshot, _ = load([Text("in.yaml", (case / "in.yaml").read_text())])
    return translate(snapshot)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plans_become_the_envoy_configuration_that_was_agreed(case: Path, update: bool) -> None:
    plan = plan_of(case)
    files = render(plan, sockets(plan, assign(plan.listeners, "127.0.0.1")), {}, Settings(folder=FOLDER))
    shown = {
        f"{name.replace('/', '-')}.yaml": encode(data, "yaml").decode()
        for name, data in files.items()
        if data.get("resources") and (name.startswith(("clusters", "routes/")) or _is_own(name, plan))
    }
    folder = case / "envoy"
    if update:
        folder.mkdir(exist_ok=True)
        for path in folder.glob("*.yaml"):
            path.unlink()
        for name, text in shown.items():
            (folder / name).write_text(text)
        if not shown:
            folder.rmdir()
    assert shown == {path.name: path.read_text() for path in folder.glob("*.yaml")}, "if that is right: --update"


def _is_own(name: str, plan: Plan) -> bool:
    return name == "listeners" and any(listener.tls is not None for listener in plan.listeners)


def test_envoy_takes_the_configuration_of_every_case(tmp_path: Path) -> None:
    """All at once: what takes Envoy time is to start. Keys in the cases are none: here they are."""
    issued, found, copies = Authority().issue("x"), [], []
    (tmp_path / "secrets").mkdir()
    (tmp_path / "ca.pem").write_text(issued.chain)
    settings = Settings(folder=str(tmp_path), authorities=f"{tmp_path}/ca.pem")
    for number, case in enumerate(CASES):
        plan = plan_of(case)
        for name, content in secrets(plan).items():
            private = b"PRIVATE KEY" in content
            (tmp_path / name).write_text(issued.chain + issued.key if private else issued.chain)
        found.append(render(plan, sockets(plan, assign(plan.listeners, f"127.1.{number}.1")), {}, settings))
        one = in_one(found[-1:])["static_resources"]["clusters"][1:]  # of several with one name the last counts
        copies += [cluster | {"name": f"{cluster['name']}@{number}"} for cluster in one]
    whole = in_one(found)
    whole["static_resources"]["clusters"] += copies
    (tmp_path / "envoy.json").write_bytes(encode(whole, "json"))
    argv = [find_envoy(), "-c", str(tmp_path / "envoy.json"), "--mode", "validate", "--log-level", "error"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
