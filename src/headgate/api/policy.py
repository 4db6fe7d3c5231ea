"""GKE's policies that attach to pools and Services (networking.gke.io/v1)."""

from msgspec import Struct

from headgate.api.formats import Group, KindName, Label
from headgate.api.meta import Meta, Name


class TargetRef(Struct, frozen=True, rename="camel"):
    kind: KindName
    name: Name
    group: Group = ""
    namespace: Label | None = None


class HealthCheckPolicy(Struct, frozen=True):
    """Seconds and counts as written; None where the default of the kind applies (5 s, 5 s, 2, 2)."""

    meta: Meta
    target: TargetRef
    check: str  # HTTP, HTTPS, HTTP2, TCP, GRPC
    path: str = "/"
    port: int | None = None  # None: the serving port
    host: str = ""
    check_interval_s: int | None = None
    timeout_s: int | None = None
    healthy_threshold: int | None = None
    unhealthy_threshold: int | None = None


class BackendPolicy(Struct, frozen=True):
    """GCPBackendPolicy. What has no meaning on one machine is noted when it is read."""

    meta: Meta
    target: TargetRef
    timeout_s: int | None = None
    max_rate_per_endpoint: int | None = None
