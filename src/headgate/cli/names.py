"""What there is by name: the command line must not load the engine to say so. A test compares."""

WORKLOADS = (
    "shared-prefix",
    "one-prefix",
    "rag",
    "multi-lora",
    "chat",
    "multi-turn",
    "long-context",
    "bursts",
    "diurnal",
    "criticality",
)
POLICIES = (
    "round-robin",
    "random",
    "least-request",
    "inference-extension-default",
    "default",
    "flow-control",
    "predicted-latency",
    "disaggregated",
)
PROFILES = ("default", "inference-extension-default", "predicted-latency")
SERVERS = ("l4-llama-3.1-8b", "a100-40g-llama-3.1-8b", "h100-llama-3.1-8b", "2xh100-qwen3-32b")
TRACES = ("mooncake", "sharegpt", "guidellm", "access-log")
ACCELERATORS = ("l4", "a100-40g", "h100")
