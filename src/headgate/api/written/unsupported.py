"""Plugins of an EndpointPickerConfig that are published and not had, and why, or what to write instead."""

from collections.abc import Mapping

_ONE_CLUSTER = "there is one cluster here"
_CUSTOM = "custom metrics are not read here; write utilization-filter, or the scorer of the metric that you mean"

UNSUPPORTED: Mapping[str, str] = {
    "mm-embeddings-cache-scorer": "images are not looked into here",
    "mm-embeddings-cache-producer": "images are not looked into here",
    "multicluster-queue-scorer": _ONE_CLUSTER,
    "multicluster-kv-cache-utilization-scorer": _ONE_CLUSTER,
    "multicluster-prefix-cache-scorer": _ONE_CLUSTER,
    "endpoint-attribute-filter": _CUSTOM,
    "endpoint-attribute-scorer": _CUSTOM,
    "file-discovery": "write Pods with the annotation headgate.dev/address",
    **dict.fromkeys(
        (
            "dcgm-data-source",
            "dcgm-extractor",
            "disaggregatedset-rollout-screener",
            "k8s-notification-source",
            "p2p-source-producer",
            "request-attribute-reporter",
            "sglanghttp-parser",
            "vertexai-parser",
            "vllmgrpc-parser",
        ),
        "",
    ),
}
