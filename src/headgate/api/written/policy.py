"""HealthCheckPolicy and GCPBackendPolicy (networking.gke.io/v1, GoogleCloudPlatform/gke-gateway-api)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from headgate.api.formats import Group, KindName, Label, PreciseHostname
from headgate.api.meta import Meta, Name, Port
from headgate.api.policy import BackendPolicy, HealthCheckPolicy, TargetRef
from headgate.api.tree import Tree
from headgate.api.written.metadata import Spec

CheckType = Literal["TCP", "HTTP", "HTTPS", "HTTP2", "GRPC"]
PortSpecification = Literal["USE_FIXED_PORT", "USE_NAMED_PORT", "USE_SERVING_PORT"]
CheckSeconds = Annotated[int, msgspec.Meta(ge=1, le=300)]
CheckCount = Annotated[int, msgspec.Meta(ge=1, le=10)]
RequestPath = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^/[A-Za-z0-9/\-._~%!?$&'()*+,;=:]*$",
        max_length=2048,
        extra={"write": "write a path that begins with '/', such as /health"},
    ),
]


class Check(Struct, frozen=True, rename="camel"):
    """httpHealthCheck and its siblings; which members each has is close enough to share one shape."""

    host: PreciseHostname = ""
    port: Port | None = None
    port_name: str | None = None
    port_specification: PortSpecification | None = None
    request_path: RequestPath = "/"
    proxy_header: Literal["NONE", "PROXY_V1"] = "NONE"
    request: str | None = None
    response: str | None = None
    grpc_service_name: str | None = None


class CheckConfig(Struct, frozen=True, rename="camel"):
    type: CheckType
    http_health_check: Check | None = None
    https_health_check: Check | None = None
    http2_health_check: Check | None = msgspec.field(name="http2HealthCheck", default=None)
    tcp_health_check: Check | None = None
    grpc_health_check: Check | None = None


class LogConfig(Struct, frozen=True):
    enabled: bool = False


class HealthDefault(Struct, frozen=True, rename="camel"):
    check_interval_sec: CheckSeconds | None = None
    timeout_sec: CheckSeconds | None = None
    healthy_threshold: CheckCount | None = None
    unhealthy_threshold: CheckCount | None = None
    config: CheckConfig | None = None
    log_config: LogConfig | None = None


class Target(Struct, frozen=True):
    group: Group
    kind: KindName
    name: Name
    namespace: Label | None = None

    def ref(self) -> TargetRef:
        return TargetRef(kind=self.kind, name=self.name, group=self.group, namespace=self.namespace)


class HealthSpec(Struct, frozen=True, rename="camel"):
    target_ref: Target
    default: HealthDefault = HealthDefault()


class Draining(Struct, frozen=True, rename="camel"):
    draining_timeout_sec: Annotated[int, msgspec.Meta(ge=0, le=3600)] | None = None


class Logging(Struct, frozen=True, rename="camel"):
    enabled: bool = False
    sample_rate: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None = None


class Affinity(Struct, frozen=True, rename="camel"):
    type: (
        Literal[
            "CLIENT_IP",
            "CLIENT_IP_PORT_PROTO",
            "CLIENT_IP_PROTO",
            "GENERATED_COOKIE",
            "HEADER_FIELD",
            "HTTP_COOKIE",
            "NONE",
        ]
        | None
    ) = None
    cookie_ttl_sec: Annotated[int, msgspec.Meta(ge=0, le=1_209_600)] | None = None


class BackendDefault(Struct, frozen=True, rename="camel"):
    timeout_sec: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None
    max_rate_per_endpoint: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)] | None = None
    backend_preference: Literal["DEFAULT", "PREFERRED"] | None = None
    connection_draining: Draining | None = None
    logging: Logging | None = None
    session_affinity: Affinity | None = None
    security_policy: str | None = None
    iap: Any = None


class BackendSpec(Struct, frozen=True, rename="camel"):
    target_ref: Target
    default: BackendDefault = BackendDefault()


def member(config: CheckConfig) -> tuple[str, Check | None]:
    """The member that goes with the config's type: its name as written, and what it says."""
    members = {
        "HTTP": ("httpHealthCheck", config.http_health_check),
        "HTTPS": ("httpsHealthCheck", config.https_health_check),
        "HTTP2": ("http2HealthCheck", config.http2_health_check),
        "TCP": ("tcpHealthCheck", config.tcp_health_check),
        "GRPC": ("grpcHealthCheck", config.grpc_health_check),
    }
    return members.get(config.type, ("", None))


def health_check(meta: Meta, written: Spec[HealthSpec], _: Tree) -> HealthCheckPolicy:
    default = written.spec.default
    config = default.config
    check = (member(config)[1] if config else None) or Check()
    return HealthCheckPolicy(
        meta=meta,
        target=written.spec.target_ref.ref(),
        check=config.type if config else "HTTP",
        path=check.request_path,
        port=check.port,
        host=check.host,
        check_interval_s=default.check_interval_sec,
        timeout_s=default.timeout_sec,
        healthy_threshold=default.healthy_threshold,
        unhealthy_threshold=default.unhealthy_threshold,
    )


def backend(meta: Meta, written: Spec[BackendSpec], _: Tree) -> BackendPolicy:
    default = written.spec.default
    return BackendPolicy(
        meta=meta,
        target=written.spec.target_ref.ref(),
        timeout_s=default.timeout_sec,
        max_rate_per_endpoint=default.max_rate_per_endpoint,
    )
