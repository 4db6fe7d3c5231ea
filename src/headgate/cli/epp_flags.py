"""The flags of `headgate epp`: those of the field's pickers as far as they mean something here, and some of our own.

Sources: llm-d-router pkg/epp/server/options.go; Inference Extension pkg/lwepp/server/options.go; zap's of
controller-runtime.
"""

import os
from collections.abc import Mapping, Sequence

from headgate.cli.go_flags import Flag, Options, Wrong, parse, usage
from headgate.cli.processors import TLS

_GROUPS = ("inference.networking.k8s.io", "inference.networking.x-k8s.io")
BODIES = ("text", "openai")

_FLAGS = (
    Flag("pool-name", "", "the InferencePool whose endpoints are picked", "NAME"),
    Flag("pool-namespace", "", "its namespace (default: $NAMESPACE, else default)", "NAMESPACE"),
    Flag("pool-group", _GROUPS[0], "its API group", "GROUP"),
    Flag("endpoint-selector", (), "labels of the Pods to pick among, where there is no pool: app=vllm,tier=gpu"),
    Flag("endpoint-target-ports", (), "their ports, with --endpoint-selector: 8000,8001", "PORTS"),
    Flag("kubernetes", False, "read the pool and its Pods from the cluster (so it is where no files are given)"),
    Flag("kubeconfig", "", "how to reach it (default: $KUBECONFIG, our Pod's service account, ~/.kube/config)", "FILE"),
    Flag("config-file", "", "an EndpointPickerConfig: how to pick (docs/picking.md); it is followed", "FILE"),
    Flag("config-text", "", "the same as a text", "YAML"),
    Flag("disable-endpoint-subset-filter", False, "pick among all endpoints, whichever the proxy says it can reach"),
    Flag("emit-endpoint-scores", False, "tell the proxy the scores of the candidates, as metadata"),
    Flag("fallbacks", 0, "endpoints that are named behind the best, for the proxy to go to when that can't be reached "
         "(an EndpointPickerConfig says so with maxNumOfEndpoints; the proxy has to take lists)"),
    Flag("wait", 0.0, "how long a request may wait for an endpoint, where none is ready"),
    Flag("error-body", "text", "how refusals are written: text, as other pickers do, or openai, as the native gateway "
         "does", "|".join(BODIES)),
    Flag("conformance", False, "do as the conformance suite's picker (lwepp): honour test-epp-endpoint-selection, tell "
         "the served endpoint in answers; any client can then choose among the pool's endpoints"),
    Flag("address", "", "where to listen (default: everywhere)", "HOST"),
    Flag("grpc-port", 9002, "of the picker"),
    Flag("grpc-health-port", 9003, "of grpc.health.v1, without TLS; 0: none beside that on the picker's port"),
    Flag("metrics-port", 9090, "of Prometheus metrics; 0: none"),
    Flag("metrics-endpoint-auth", True, "in a cluster: show metrics to those only who may read them (TokenReview, "
         "SubjectAccessReview)"),
    Flag("secure-serving", True, "speak TLS"),
    Flag("cert-path", "", "a directory with tls.crt and tls.key, which are followed (default: one of its own)", "DIR"),
    Flag("enable-cert-reload", True, "follow them"),
    Flag("tls-min-version", "", "VersionTLS12 or VersionTLS13 (default VersionTLS12)", "VERSION"),
    Flag("drain-timeout", 30.0, "after SIGTERM: how long it goes on serving, while it says that it wants no more"),
    Flag("refresh-metrics-interval", 0.0, "how often endpoints are asked for their metrics under traffic, 10ms to 1s "
         "(default: 100ms, and less often in fleets of more than 40)"),
    Flag("flow-control", False, "requests beyond what the pool can take queue, where no EndpointPickerConfig says so"),
    Flag("profile", "default", "how the pool picks that says nothing of it", "default|inference-extension-default|…"),
    Flag("body-limit", 64, "the largest request body, in MiB"),
    Flag("held-limit", 1024, "bodies that are held for all requests together, in MiB; beyond it new ones get 503"),
    Flag("access-log", "off", "a file, or - for standard output", "PATH"),
    Flag("reuse-port", False, "several processes share the ports but for the metrics': give each a --name and a "
         "--metrics-port of its own"),
    Flag("name", "", "which instance, where several run on one machine (default: epp-POOL)", "NAME"),
)  # fmt: skip

LOGS = "means nothing here: what is told is a few lines of plain text"
PPROF = "means nothing here: there is no Go runtime to look into"
TRACING = "means nothing yet: no traces are written"
ZAP = dict.fromkeys(
    ("v", "vmodule", "zap-devel", "zap-encoder", "zap-log-level", "zap-stacktrace-level", "zap-time-encoding"), LOGS
)
_UNHEEDED = {
    **ZAP,
    "allow-experimental-plugins": "is not needed: what is there can be used",
    "enable-grpc-stream-metrics": "is not needed: they are always there",
    "enable-pprof": PPROF,
    "grpc-max-recv-msg-size": "is not needed: messages may be as large as bodies (--body-limit)",
    "grpc-max-send-msg-size": "is not needed: messages may be as large as bodies (--body-limit)",
    "health-checking": "is not needed: health is always told",
    "metrics-staleness-threshold": "is not needed: loads older than 2s count as unknown",
    "refresh-prometheus-metrics-interval": "is not needed: metrics are made when they are asked for",
    "tracing": TRACING,
    "watch-config-file": "is not needed: --config-file is always followed",
}
_ENGINES = "which engine a Pod runs is told by its label llm-d.ai/engine-type; metric names are those of the engine"
_METRICS_OF_ENGINES = (
    *("total-queued-requests-metric", "total-running-requests-metric", "kv-cache-usage-percentage-metric"),
    *("lora-info-metric", "cache-info-metric"),
)
_REFUSED = {
    **dict.fromkeys(_METRICS_OF_ENGINES, _ENGINES),
    "model-server-metrics-port": "metrics are read from the port that serves",
    "model-server-metrics-path": "metrics are read from /metrics",
    "model-server-metrics-scheme": "a BackendTLSPolicy says that endpoints speak TLS",
    "model-server-metrics-https-insecure-skip-verify": "a BackendTLSPolicy says what endpoints must show",
    "metrics-cert-dir": "metrics are served without TLS; put them behind the mesh, or keep the port in the cluster",
    "metrics-client-ca-file": "metrics are served without TLS, so that no client shows a certificate",
    "tls-cipher-suites": "OpenSSL's own choice for TLS 1.2 and 1.3 holds",
}

_MORE = """\
Where files are given, endpoints are those of their Pods (annotation headgate.dev/address: HOST:PORT).

examples:
  headgate epp --pool-name vllm-llama3 --pool-namespace default                 in a cluster
  headgate epp --pool-name vllm-llama3 --secure-serving=false manifests/        from files, in front of a local Envoy
  headgate epp --endpoint-selector app=vllm --endpoint-target-ports 8000 pods.yaml
  headgate epp --pool-name vllm-llama3 --config-file picker.yaml -v=4 --zap-encoder=json

docs/ext-proc.md says how a proxy is configured. Exit status: 0 stopped by a signal, 1 it could not serve, 2 the command
line can't be understood.
"""


class Picked(Options, frozen=True):
    """What the flags come to. `ports` are those of the selected Pods; a pool by name has its own."""

    pool: str  # namespace/name, "" where a selector stands for it, or the only one there is
    namespace: str
    selector: Mapping[str, str]
    ports: tuple[int, ...]
    tls: str  # the least version


def read(argv: Sequence[str]) -> Picked:
    """Raises Wrong."""
    if "ha-enable-leader-election" in (word.lstrip("-").partition("=")[0] for word in argv):
        argv = _without_election(argv)
    parsed = parse(argv, _FLAGS, _UNHEEDED, _REFUSED)
    values = parsed.values
    namespace = values["pool-namespace"] or os.environ.get("NAMESPACE") or "default"
    selector = dict(_label(one) for one in values["endpoint-selector"])
    if selector and values["pool-name"]:
        raise Wrong("--pool-name and --endpoint-selector: give one of them; a pool has a selector of its own")
    ports = tuple(_port(one) for one in values["endpoint-target-ports"])
    if bool(ports) != bool(selector):
        raise Wrong("--endpoint-selector and --endpoint-target-ports go together: which Pods, and which of their ports")
    if values["pool-group"] not in _GROUPS:
        raise Wrong(f"--pool-group: {values['pool-group']!r} has no InferencePool: write one of {', '.join(_GROUPS)}")
    if values["tls-min-version"] not in TLS:
        raise Wrong(f"--tls-min-version: {values['tls-min-version']!r}: write VersionTLS12 or VersionTLS13")
    if values["error-body"] not in BODIES:
        raise Wrong(f"--error-body: {values['error-body']!r}: write {' or '.join(BODIES)}")
    interval = values["refresh-metrics-interval"]
    if interval and not 0.01 <= interval <= 1:
        raise Wrong("--refresh-metrics-interval: write 10ms to 1s: loads that are older than 2s count as unknown")
    for name in ("grpc-port", "grpc-health-port", "metrics-port"):
        if values[name] > 65535:
            raise Wrong(f"--{name}: {values[name]} is no port")
    pool = f"{namespace}/{values['pool-name']}" if values["pool-name"] else ""
    if not parsed.rest and not pool and not selector:
        raise Wrong("which pool? Write --pool-name NAME, in a cluster; or give files, and in them an InferencePool")
    return Picked(parsed, pool, namespace, selector, ports, TLS[values["tls-min-version"]])


def _without_election(argv: Sequence[str]) -> list[str]:
    """Every replica serves; nothing is elected. `false` says so."""
    left = []
    for word in argv:
        name, _, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name == "ha-enable-leader-election":
            if value.lower() not in ("false", "0", "f"):
                raise Wrong(
                    "--ha-enable-leader-election: replicas need no leader here, all of them serve: leave it out, or "
                    "write --ha-enable-leader-election=false"
                )
            continue
        left.append(word)
    return left


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Wrong(f"--endpoint-selector: {text!r} is no label: write KEY=VALUE, and commas between several")
    return key, value


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Wrong(f"--endpoint-target-ports: {text!r} is no port")
    return int(text)


def help_text() -> str:
    what = "Pick endpoints for a proxy that asks by ext_proc: GKE Gateway, Istio, Envoy Gateway, kgateway, any Envoy."
    return usage("epp", what, "[FILE or DIRECTORY ...]", _FLAGS, _MORE)
