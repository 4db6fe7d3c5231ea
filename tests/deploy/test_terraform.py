"""The Terraform module by real terraform, as far as no provider is needed: its values, and what charts make of them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rendered import ROOT, Object, named, objects, template
from valid import faults

from headgate.api import Text, load
from headgate.plan import translate
from headgate.runtime.complaints import complaints

MODULE = ROOT / "deploy" / "terraform" / "inference-gateway"
TERRAFORM = shutil.which("terraform")
needs_terraform = pytest.mark.skipif(TERRAFORM is None, reason="terraform 1.5 or newer is not on PATH")

GUIDE = {"project_id": "my-project", "cluster_name": "my-cluster", "cluster_location": "us-central1"}


def _terraform(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    assert TERRAFORM
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        [TERRAFORM, f"-chdir={directory}", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Object], Object]:
    """Variables of the module → values of the charts. What asks a cloud is left out: providers, data, releases."""
    directory = tmp_path_factory.mktemp("terraform")
    main = (MODULE / "main.tf").read_text()
    wiring = re.search(r'^module "values" \{.*?^\}\n', main, re.MULTILINE | re.DOTALL)
    assert wiring
    told = wiring[0].replace("data.google_container_cluster.this.enable_autopilot", "true")
    assert "data." not in told
    outputs = "".join(
        f'output "{name}" {{\n  value = module.values.{name}\n}}\n' for name in ("inference_pool", "body_based_routing")
    )
    (directory / "main.tf").write_text(told + outputs)
    shutil.copy(MODULE / "variables.tf", directory)
    shutil.copytree(MODULE / "values", directory / "values")
    done = _terraform(directory, "init", "-backend=false", "-input=false", "-no-color")
    assert done.returncode == 0, done.stderr

    def values(variables: Object) -> Object:
        (directory / "terraform.tfvars.json").write_text(json.dumps(variables))
        done = _terraform(directory, "apply", "-auto-approve", "-input=false", "-no-color")
        assert done.returncode == 0, done.stderr
        shown = json.loads(_terraform(directory, "output", "-json").stdout)
        return {name: one["value"] for name, one in shown.items()}

    return values


def _rendered(values: Object, chart: str, release: str, tmp_path: Path, *served: str) -> list[Object]:
    file = tmp_path / f"{release}.yaml"
    file.write_text(yaml.safe_dump(values))
    return objects(template(release, chart, "--values", str(file), *[f"--api-versions={one}" for one in served]))


@needs_terraform
def test_it_is_formatted() -> None:
    done = _terraform(MODULE, "fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_terraform
def test_three_variables_are_enough_for_a_route_from_a_gateway_to_a_pool(
    values: Callable[[Object], Object], tmp_path: Path
) -> None:
    rendered = _rendered(values(GUIDE)["inference_pool"], "headgate-inferencepool", "vllm-llama3-8b-instruct", tmp_path)
    assert not faults(rendered)
    guide = ROOT / "deploy" / "gke" / "4-vllm-terraform"
    assert rendered == objects((guide / "helm-inferencepool.yaml").read_text())
    assert _terraform(guide, "fmt", "-check", "-diff").returncode == 0
    snapshot, _ = load([Text("rendered.yaml", yaml.safe_dump_all(rendered))])
    plan, statuses = translate(snapshot)
    assert len(plan.pools) == 1
    assert not complaints(statuses)
    assert named(rendered, "HTTPRoute")["llm-route"]["spec"]["parentRefs"] == [{"name": "inference-gateway"}]


@needs_terraform
def test_what_is_set_arrives(values: Callable[[Object], Object], tmp_path: Path) -> None:
    models = [
        {"name": "base", "model_name": "meta-llama/Llama-3.1-8B-Instruct", "criticality": "Critical"},
        {
            "name": "food-review",
            "model_name": "food-review",
            "target_models": [{"name": "food-review-1", "weight": 90}, {"name": "food-review-2", "weight": 10}],
        },
    ]
    given = {
        **GUIDE,
        "inference_pool_name": "llama",
        "inference_pool_match_labels": {"app": "llama"},
        "inference_pool_target_port": 9000,
        "inference_models": models,
        "health_check_path": "/-/healthz",
        "metrics_reader_secret": "inference-gateway-sa-metrics-reader-secret",
        "image": {"registry": "registry.example.com/team", "tag": "0.1.0"},
        "picker_config": "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n",
        "ip_address_name": "llm-address",
        "http_route_path": "/v1/",
        "gateway_name": "other-gateway",
    }
    found = values(given)
    old = "inference.networking.x-k8s.io/v1alpha2/InferencePool"
    rendered = _rendered(found["inference_pool"], "headgate-inferencepool", "llama", tmp_path, old)
    assert not faults(rendered)
    pool = named(rendered, "InferencePool")["llama"]
    assert (pool["apiVersion"], pool["spec"]["targetPortNumber"]) == ("inference.networking.x-k8s.io/v1alpha2", 9000)
    targets = named(rendered, "InferenceModel")["food-review"]["spec"]["targetModels"]
    assert targets == [{"name": "food-review-1", "weight": 90}, {"name": "food-review-2", "weight": 10}]
    assert "targetModels" not in named(rendered, "InferenceModel")["base"]["spec"]
    check = named(rendered, "HealthCheckPolicy")["llama"]["spec"]["default"]["config"]["httpHealthCheck"]
    assert check == {"requestPath": "/-/healthz", "port": 9000}
    assert not named(rendered, "Secret")  # theirs is used
    assert "inference-gateway-sa-metrics-reader-secret" in str(named(rendered, "PodMonitoring"))
    deployment = named(rendered, "Deployment")["llama-epp"]["spec"]["template"]["spec"]
    assert deployment["containers"][0]["image"] == "registry.example.com/team/headgate:0.1.0"
    assert "queue-scorer" in named(rendered, "ConfigMap")["llama-epp"]["data"]["default-plugins.yaml"]
    gateway = named(rendered, "Gateway")["other-gateway"]["spec"]
    assert gateway["addresses"] == [{"type": "NamedAddress", "value": "llm-address"}]
    router = _rendered(found["body_based_routing"], "headgate-body-based-routing", "body-based-router", tmp_path)
    assert not faults(router)
    extension = named(router, "GCPRoutingExtension")["body-based-router"]
    assert extension["spec"]["targetRefs"][0]["name"] == "other-gateway"


@needs_terraform
def test_a_certificate_makes_a_listener_of_https(values: Callable[[Object], Object]) -> None:
    listeners = values({**GUIDE, "tls_certificate_name": "mine", "domain": "llm.example.com"})["inference_pool"][
        "gateway"
    ]
    assert [one["port"] for one in listeners["listeners"]] == [80, 443]
    assert listeners["listeners"][1]["tls"]["options"] == {"networking.gke.io/pre-shared-certs": "mine"}
