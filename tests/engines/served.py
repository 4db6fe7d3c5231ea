"""Manifests for a real vLLM: two replicas of the tiny model, their adapters, and a gateway in front."""

from pathlib import Path

_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: vllm}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: vllm}}}}
  template:
    metadata: {{labels: {{app: vllm}}}}
    spec:
      terminationGracePeriodSeconds: 15
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
        args: [--model, /models/base, --served-model-name, tiny-llama, --port, "8000", --max-model-len, "1024",
               --enforce-eager, --dtype, float32, --enable-lora, --max-loras, "2", --max-cpu-loras, "12"]
        env:
        - {{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: "true"}}
        - {{name: VLLM_CPU_KVCACHE_SPACE, value: "1"}}
        - {{name: VLLM_CPU_OMP_THREADS_BIND, value: nobind}}  # bound, both would be on the same cores, one at a time
        - {{name: OMP_NUM_THREADS, value: "1"}}
        - {{name: VLLM_NO_USAGE_STATS, value: "1"}}
        - {{name: HF_HUB_OFFLINE, value: "1"}}
        ports: [{{name: http, containerPort: 8000}}]
        resources: {{limits: {{nvidia.com/gpu: 1}}}}
        startupProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 1, failureThreshold: 600}}
        readinessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 1, timeoutSeconds: 5}}
        volumeMounts: [{{name: models, mountPath: /models}}]
      volumes:
      - {{name: config, configMap: {{name: adapters}}}}
      - {{name: models, hostPath: {{path: "{models}"}}}}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: pool}}
spec:
  selector: {{matchLabels: {{app: vllm}}}}
  targetPorts: [{{number: 8000}}]
  endpointPickerRef: {{name: epp, port: {{number: 9002}}}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {{name: reviews}}
spec:
  modelName: reviews
  criticality: Critical
  poolRef: {{name: pool}}
  targetModels: [{{name: food-review, weight: 100}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: gke-l7-rilb
  listeners:
  - {{name: http, protocol: HTTP, port: 80}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: llm}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /}}}}]
    backendRefs: [{{name: pool, group: inference.networking.k8s.io, kind: InferencePool}}]
"""

_ADAPTERS = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: adapters}}
data:
  configmap.yaml: |
    vLLMLoRAConfig:
      name: vllm
      defaultBaseModel: tiny-llama
      ensureExist:
        models: [{entries}]
"""


def write_system(directory: Path, models: Path, *adapters: str) -> Path:
    """The whole of it, with these adapters (directories of `models`)."""
    directory.mkdir()
    (directory / "system.yaml").write_text(_MANIFEST.format(models=models))
    write_adapters(directory, models, *adapters)
    return directory


def write_adapters(directory: Path, models: Path, *adapters: str) -> None:
    """The syncer's ConfigMap, moved into place whole, as an editor does."""
    entries = ", ".join(f"{{id: {name}, source: {models / name}}}" for name in adapters)
    part = directory / ".adapters.part"
    part.write_text(_ADAPTERS.format(entries=entries))
    part.rename(directory / "adapters.yaml")
