"""Manifests of a small system, written anew for each state it should have."""

from pathlib import Path

GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gke-l7-rilb
  listeners:
  - {name: http, protocol: HTTP, port: 80}
"""

ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: llm}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: pool, group: inference.networking.k8s.io, kind: InferencePool}]
"""

ROUTE_EDITED = (
    ROUTE
    + """\
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {add: [{name: x-edited, value: "yes"}]}
"""
)

POOL = """\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: epp, port: {number: 9002}}
"""

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: vllm}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: vllm}}}}
  template:
    metadata: {{labels: {{app: vllm}}}}
    spec:
      terminationGracePeriodSeconds: 20
      initContainers:
      - name: lora-adapter-syncer
        image: us-central1-docker.pkg.dev/k8s-staging-images/gateway-api-inference-extension/lora-syncer:main
        restartPolicy: Always
        env: [{{name: DYNAMIC_LORA_ROLLOUT_CONFIG, value: /config/configmap.yaml}}]
        volumeMounts: [{{name: config, mountPath: /config}}]
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.32.0
        command: [python3, -m, vllm.entrypoints.openai.api_server]
        args: [--model, base, --port, "8000", --enable-lora, --max-loras, "2"{more}]
        env: [{{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: "true"}}]
        ports: [{{name: http, containerPort: 8000}}]
        readinessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 1}}
      volumes: [{{name: config, configMap: {{name: adapters}}}}]
"""

_ADAPTERS = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: adapters}}
data:
  configmap.yaml: |
    vLLMLoRAConfig:
      name: vllm
      defaultBaseModel: base
      ensureExist:
        models: [{there}]
      ensureNotExist:
        models: [{gone}]
"""


def deployment(replicas: int, more: str = "") -> str:
    return _DEPLOYMENT.format(replicas=replicas, more=more)


def adapters(*names: str, gone: tuple[str, ...] = ()) -> str:
    entries = [", ".join(f"{{id: {name}, source: org/{name}}}" for name in group) for group in (names, gone)]
    return _ADAPTERS.format(there=entries[0], gone=entries[1])


def write(directory: Path, **files: str) -> None:
    """Each file is moved into place whole, as an editor does."""
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        part = directory / f".{name}.part"
        part.write_text(text)
        part.rename(directory / f"{name}.yaml")


def system(directory: Path, replicas: int = 1) -> Path:
    """A whole small system, with the adapter `food-review`."""
    write(
        directory, gateway=GATEWAY, route=ROUTE, pool=POOL, vllm=deployment(replicas), adapters=adapters("food-review")
    )
    return directory
