"""What the gateway is configured with, and how it changes while requests run."""

import random
from collections.abc import Sequence
from pathlib import Path

PORT, SIDE_PORT = 8080, 8081  # listeners of 80 and 81; that of 81 comes and goes
TIMEOUT_S = 5  # of a request

_GATEWAY = """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: headgate
  listeners:
  - {name: http, protocol: HTTP, port: 80}
"""
_SIDE = "  - {name: side, protocol: HTTP, port: 81}\n"
_ROUTE = """\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: PATH}}]
    timeouts: {request: TIMEOUTs}
    backendRefs: [BACKEND]
"""
_INFERENCE = "{name: pool, group: inference.networking.k8s.io, kind: InferencePool}"
_SERVICE_REF = "{name: web, port: 80}"
_HEADER = """\
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-flap, value: "yes"}]}
"""
_POOL = """\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: chaos}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: epp, port: {number: 9002}}
"""
_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: chaos}
  ports: [{port: 80, targetPort: 8000}]
"""
_MODELS = """\
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: alias}
spec: {modelName: alias, criticality: CRITICALITY, poolRef: {name: pool}, targetModels: [{name: base, weight: WEIGHT}]}
"""
_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: NAME
  labels: {app: chaos}
  annotations: {headgate.dev/address: "ADDRESS"}
"""


def _route(name: str, path: str, backend: str) -> str:
    words = {"NAME": name, "PATH": path, "TIMEOUT": str(TIMEOUT_S), "BACKEND": backend}
    text = _ROUTE
    for word, value in words.items():
        text = text.replace(word, value)
    return text


ROUTES = _route("llm", "/v1", _INFERENCE) + "---\n" + _route("web", "/web", _SERVICE_REF)
FLAPPING = _route("flapping", "/flap", _SERVICE_REF)
MODELS = _MODELS.replace("CRITICALITY", "Standard").replace("WEIGHT", "1")


def write(directory: Path, name: str, text: str) -> None:
    """The file is moved into place whole, as an editor does."""
    part = directory / f".{name}.part"
    part.write_text(text)
    part.rename(directory / f"{name}.yaml")


class Manifests:
    """The files, and one change of them at a time: `flap` makes one, `mend` undoes all."""

    def __init__(self, directory: Path, endpoints: Sequence[str]) -> None:
        self.directory = directory
        self._pods = [
            _POD.replace("NAME", f"pod-{n}").replace("ADDRESS", address) for n, address in enumerate(endpoints)
        ]
        directory.mkdir(parents=True)
        self.mend()

    def mend(self) -> None:
        texts = {
            "gateway": _GATEWAY + _SIDE,
            "routes": ROUTES,
            "flapping": FLAPPING,
            "pools": f"{_POOL}---\n{_SERVICE}",
            "models": MODELS,
            "pods": "---\n".join(self._pods),
        }
        for name, text in texts.items():
            if not (self.directory / f"{name}.yaml").exists() or (self.directory / f"{name}.yaml").read_text() != text:
                write(self.directory, name, text)

    def flap(self, dice: random.Random) -> str:
        """What was changed, in words."""
        kind = dice.choice(("header", "broken", "pod gone", "model", "listener gone", "route gone", "nothing"))
        if kind == "header":
            write(self.directory, "routes", ROUTES.replace("    timeouts:", _HEADER + "    timeouts:"))
        elif kind == "broken":
            write(self.directory, dice.choice(("routes", "pools", "models")), "kind: [\n  {broken")
        elif kind == "pod gone":
            write(self.directory, "pods", "---\n".join(dice.sample(self._pods, len(self._pods) - 1)))
        elif kind == "model":
            write(self.directory, "models", _MODELS.replace("CRITICALITY", "Critical").replace("WEIGHT", "7"))
        elif kind == "listener gone":
            write(self.directory, "gateway", _GATEWAY)
        elif kind == "route gone":
            (self.directory / "flapping.yaml").unlink(missing_ok=True)
        else:
            (self.directory / "pools.yaml").touch()
        return f"configuration: {kind}"
