"""Which adapters are to come, read from the manifests."""

from headgate.api import Text, load
from headgate.plan import translate
from headgate.runtime.expected import expected_adapters

_POOL = """
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: epp, port: {number: 9002}}
"""
_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: vllm}
spec:
  replicas: 1
  selector: {matchLabels: {app: vllm}}
  template:
    metadata: {labels: {app: vllm}}
    spec:
      containers: [{name: vllm, image: vllm/vllm-openai}]
      volumes: [{name: config, VOLUME}]
"""
_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: adapters}
data:
  configmap.yaml: |
    vLLMLoRAConfig:
      ensureExist: {models: [{id: food, source: org/food}, {id: review, source: org/review}]}
      ensureNotExist: {models: [{id: old, source: org/old}]}
  notes.txt: vLLMLoRAConfig is written above
  broken.yaml: "vLLMLoRAConfig: ["
"""
_MOUNTED = "configMap: {name: adapters}"


def _expected(*texts: str) -> dict[str, frozenset[str]]:
    snapshot, problems = load([Text("in.yaml", "\n---\n".join(texts))])
    assert not [problem for problem in problems if problem.severity == "error"]
    return expected_adapters(snapshot, translate(snapshot)[0])


def test_adapters_of_a_mounted_config_map_are_expected_in_the_pods_pool() -> None:
    found = _expected(_POOL, _DEPLOYMENT.replace("VOLUME", _MOUNTED), _MAP)
    assert found == {"default/pool": frozenset({"food", "review"})}


def test_a_projected_volume_is_as_good() -> None:
    projected = "projected: {sources: [{configMap: {name: adapters}}]}"
    assert _expected(_POOL, _DEPLOYMENT.replace("VOLUME", projected), _MAP)["default/pool"] == {"food", "review"}


def test_nothing_is_expected_of_what_nobody_mounts_or_no_pod_runs() -> None:
    other = _DEPLOYMENT.replace("VOLUME", "configMap: {name: other, optional: true}")
    assert _expected(_POOL, other, _MAP) == {}
    mounted = _DEPLOYMENT.replace("VOLUME", _MOUNTED)
    assert _expected(_POOL, mounted.replace("replicas: 1", "replicas: 0"), _MAP) == {}
    assert _expected(_POOL.replace("app: vllm", "app: other"), mounted, _MAP) == {}
    assert _expected(_POOL, mounted) == {}
    assert _expected(_POOL, mounted, _MAP.replace("name: adapters}", "name: adapters, namespace: elsewhere}")) == {}
