"""What Kubernetes takes is taken without a word, and read into the types."""

from pathlib import Path

import pytest
import yaml

from headgate.api import Snapshot, Text, load
from headgate.api.texts import read as documents

VALID = Path(__file__).parent / "valid"


def read(name: str) -> Snapshot:
    snapshot, problems = load([Text(name, (VALID / name).read_text())])
    assert [str(problem) for problem in problems] == []
    return snapshot


@pytest.mark.parametrize("name", sorted(path.name for path in VALID.glob("*.yaml")))
def test_a_valid_manifest_has_no_problems(name: str) -> None:
    read(name)


def test_a_deployment_is_read_down_to_its_probes_and_volumes() -> None:
    (workload,) = read("guide-4.yaml").workloads
    assert (workload.kind, workload.replicas, workload.max_surge, workload.recreate) == ("Deployment", 1, "25%", False)
    spec = workload.template.spec
    (vllm,) = spec.containers
    assert vllm.command[0] == "python3"
    assert vllm.args[2:4] == ("--port", "8000")
    assert vllm.resources.limits == vllm.resources.requests == {"nvidia.com/gpu": "1"}
    token = vllm.env[1].value_from
    assert token is not None
    assert token.secret_key_ref is not None
    assert (token.secret_key_ref.name, token.secret_key_ref.key) == ("hf-token", "token")
    assert vllm.lifecycle.pre_stop is not None
    assert vllm.lifecycle.pre_stop.sleep is not None
    assert vllm.lifecycle.pre_stop.sleep.seconds == 30
    assert vllm.startup_probe is not None
    assert vllm.startup_probe.http_get is not None
    assert (vllm.startup_probe.failure_threshold, vllm.startup_probe.http_get.port) == (3600, "http")
    (syncer,) = spec.init_containers
    assert syncer.restart_policy == "Always"
    assert spec.termination_grace_period_seconds == 130
    assert [(volume.name, volume.kind) for volume in spec.volumes] == [
        ("data", "emptyDir"),
        ("shm", "emptyDir"),
        ("adapters", "emptyDir"),
        ("config-volume", "configMap"),
    ]


def test_both_versions_of_a_pool_become_the_same_type() -> None:
    gemma, llama, bare = read("inference.yaml").pools
    assert (gemma.meta.name, gemma.version, gemma.selector, gemma.target_ports) == (
        "gemma",
        "v1alpha2",
        {"app": "gemma"},
        (8000,),
    )
    assert gemma.picker is not None
    assert (gemma.picker.port, gemma.picker.failure_mode) == (9002, "FailClose")
    assert (llama.version, llama.target_ports, llama.app_protocol) == ("v1", (8000, 8001), "http")
    assert llama.selector == {"app": "llama", "example.com/tier": ""}
    assert llama.picker is not None
    assert (llama.picker.port, llama.picker.failure_mode) == (9002, "FailOpen")
    assert bare.picker is None


def test_models_objectives_and_rewrites_keep_their_group_and_weights() -> None:
    snapshot = read("inference.yaml")
    base, food = snapshot.models
    assert (base.criticality, base.target_models) == (None, ())
    assert [(target.name, target.weight) for target in food.target_models] == [
        ("food-review-v1", 90),
        ("food-review-v2", 10),
    ]
    assert [(each.meta.name, each.group, each.priority) for each in snapshot.objectives] == [
        ("batch", "inference.networking.x-k8s.io", -10),
        ("chat", "llm-d.ai", None),
    ]
    canary, everything = snapshot.rewrites
    assert canary.meta.created == "2026-01-01T00:00:00Z"
    assert everything.rules[0].matches == ()
    assert everything.rules[0].targets[0].weight is None


def test_a_route_has_the_defaults_of_the_gateway_api() -> None:
    shortest, full = read("networking.yaml").routes
    assert [(match.path.type, match.path.value) for match in shortest.rules[0].matches] == [("PathPrefix", "/")]
    chat, redirect, everything = full.rules
    assert [match.path.value for match in everything.matches] == ["/"]
    assert [ref.weight for ref in chat.backend_refs] == [90, 0]
    assert chat.backend_refs[0].kind == "InferencePool"
    assert chat.backend_refs[1].kind == "Service"
    assert chat.timeouts.request == "10m"
    assert redirect.filters[0].request_redirect is not None
    assert redirect.filters[0].request_redirect.status_code == 301


def test_policies_are_read_to_seconds_and_counts() -> None:
    snapshot = read("networking.yaml")
    (health,) = snapshot.health_policies
    assert (health.check, health.path, health.port, health.check_interval_s, health.timeout_s) == (
        "HTTP",
        "/-/healthz",
        8000,
        2,
        2,
    )
    assert (health.target.kind, health.target.name, health.healthy_threshold) == ("InferencePool", "llama", None)
    (backend,) = snapshot.backend_policies
    assert (backend.timeout_s, backend.max_rate_per_endpoint) == (300, 100)


def test_data_of_secrets_and_config_maps_is_decoded() -> None:
    snapshot = read("core.yaml")
    token = snapshot.secrets[0]
    assert token.data == {"token": b"hf_token", "pin": b"1234"}
    assert snapshot.config_maps[0].binary_data == {"logo": b"hello"}


def test_workloads_say_how_their_pods_follow_each_other() -> None:
    found = {workload.meta.name: workload for workload in read("core.yaml").workloads}
    rolling = found["rolling"]
    assert (rolling.min_ready_seconds, rolling.max_surge, rolling.max_unavailable) == (5, 1, 0)
    assert {workload.kind for workload in found.values() if workload.parallel} == {"StatefulSet"}


def test_volumes_are_known_by_the_name_of_their_source() -> None:
    snapshot = read("core.yaml")
    pod = next(pod for pod in snapshot.pods if pod.meta.name == "kitchen-sink")
    assert pod.spec is not None
    assert {volume.name: volume.kind for volume in pod.spec.volumes} == {
        "config": "configMap",
        "secret": "secret",
        "host": "hostPath",
        "claim": "persistentVolumeClaim",
        "bucket": "csi",
        "everything": "projected",
        "nothing": "emptyDir",
    }
    assert pod.spec.volumes[0].config_map is not None
    assert pod.spec.volumes[0].config_map.default_mode == 0o644
    stateful = next(each for each in snapshot.workloads if each.kind == "StatefulSet")
    assert [(volume.name, volume.kind) for volume in stateful.template.spec.volumes] == [
        ("models", "persistentVolumeClaim")
    ]


def test_a_headless_service_and_its_ports_are_read() -> None:
    services = {service.meta.name: service for service in read("core.yaml").services}
    assert services["headless"].cluster_ip == "None"
    assert [(port.port, port.target_port) for port in services["llm"].ports] == [(80, "http"), (9090, 9090)]


def test_a_pod_that_already_runs_needs_no_containers() -> None:
    pods = {pod.meta.name: pod for pod in read("core.yaml").pods}
    assert pods["already-running"].spec is None
    assert pods["already-running"].meta.labels == {"app": "llm", "empty": ""}


def test_kinds_that_mean_nothing_here_are_kept_by_name() -> None:
    ignored = read("ignored.yaml").ignored
    assert [(each.kind, each.name) for each in ignored] == [
        ("ClusterRoleBinding", "default/gmp-system:collector:reader"),
        ("ComputeClass", "default/gpus"),
        ("Gateway", "default/of-istio"),
        ("RayService", "ray/multiplexing"),
        ("ServiceAccount", "default/reader"),
        ("SomethingNew", ""),
    ]


def test_objects_stand_where_they_were_written() -> None:
    snapshot = read("guide-4.yaml")
    assert str(snapshot.workloads[0].meta.where) == "guide-4.yaml:2"
    assert str(snapshot.config_maps[0].meta.where) == "guide-4.yaml:100"


@pytest.mark.parametrize(
    "text",
    [
        '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "\\ud83d\\ude00 \\u00e9"}}',
        '{\n\t"apiVersion": "v1",\n\t"kind": "ConfigMap",\n\t"metadata": {"name": "a"},\n\t"data": {"k": "😀 é"}\n}\n',
        "\ufeffapiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\ndata:\r\n  k: 😀 é\r\n",
        "%YAML 1.1\n---\n---\n# no\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: 😀 é}\n...\n",
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: 😀 é}}]",
        "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}, data: {k: 😀 é}}]\n",
        "apiVersion: v1\nkind: ConfigMap\nstatus: &t {k: 😀 é}\nmetadata: {name: a}\ndata:\n  <<: *t\n",
    ],
    ids=["json", "json-with-tabs", "bom-and-crlf", "directive", "list", "typed-list", "merge"],
)
def test_the_same_object_is_read_from_every_way_to_write_it(text: str) -> None:
    snapshot, problems = load([Text("in", text)])
    assert problems == ()
    assert snapshot.config_maps[0].data == {"k": "😀 é"}


def test_backends_beside_the_rules_become_those_of_the_last_rule() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - matches: [{path: {value: /a}}]
  - matches: [{path: {value: /b}}]
  backendRefs: [{name: llama, group: inference.networking.x-k8s.io, kind: InferencePool}]
"""
    snapshot, problems = load([Text("in", text)])
    assert [problem.severity for problem in problems] == ["warning"]
    first, last = snapshot.routes[0].rules
    assert first.backend_refs == ()
    assert [ref.name for ref in last.backend_refs] == ["llama"]


def test_a_service_that_speaks_http2_is_remarked_on_only_where_a_route_leads_to_it() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: NAME}
spec:
  selector: {app: NAME}
  ports: [{name: one, port: 80, appProtocol: http2}, {name: two, port: 81}]
"""
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm}
spec:
  rules: [{backendRefs: [{name: web, port: 80}, {name: picker, port: 81}, {name: nowhere, port: 80}]}]
"""
    services = text.replace("NAME", "web") + "---" + text.replace("NAME", "picker")
    assert load([Text("in", services)])[1] == ()
    snapshot, problems = load([Text("in", services + "---" + route)])
    assert [(each.severity, each.object, each.field) for each in problems] == [
        ("warning", "Service default/web", "spec.ports[0].appProtocol")
    ]
    assert [each.meta.name for each in snapshot.services] == ["picker", "web"]


@pytest.mark.parametrize("name", sorted(path.name for path in VALID.glob("*.yaml")))
def test_pyyaml_without_libyaml_reads_the_same(name: str) -> None:
    text = (VALID / name).read_text()
    assert list(documents(text)) == list(documents(text, yaml.SafeLoader))
