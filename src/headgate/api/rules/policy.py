"""Rules of HealthCheckPolicy and GCPBackendPolicy, and notes on what has no effect outside Google Cloud."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.meta import Meta
from headgate.api.written.metadata import Spec
from headgate.api.written.policy import BackendSpec, Check, CheckConfig, HealthSpec, member

_SECONDS = 5  # the default of both the interval and the timeout
_NO_EFFECT = "no effect here: it configures Google Cloud's load balancer"


def health_check(_: Meta, written: Spec[HealthSpec]) -> Iterator[Fault]:
    default = written.spec.default
    path: Path = ("spec", "default")
    interval = default.check_interval_sec or _SECONDS
    timeout = default.timeout_sec or _SECONDS
    if timeout > interval:
        place = "timeoutSec" if default.timeout_sec else "checkIntervalSec"
        message = (
            f"a check may take {timeout} s and the next begins after {interval} s: write timeoutSec ≤ checkIntervalSec"
        )
        yield Fault((*path, place), message)
    if default.log_config:
        yield Fault((*path, "logConfig"), _NO_EFFECT, "note")
    if default.config:
        yield from _config(default.config, (*path, "config"))


def _config(config: CheckConfig, path: Path) -> Iterator[Fault]:
    members = {
        "httpHealthCheck": config.http_health_check,
        "httpsHealthCheck": config.https_health_check,
        "http2HealthCheck": config.http2_health_check,
        "tcpHealthCheck": config.tcp_health_check,
        "grpcHealthCheck": config.grpc_health_check,
    }
    name, check = member(config)
    if check is None and name:
        yield Fault((*path, name), f"missing: type {config.type} needs it; write `{name}: {{}}` for its defaults")
    if check is not None:
        yield from _check(check, (*path, name))
    for other, value in members.items():
        if value is not None and name and other != name:
            yield Fault((*path, other), f"does not go with type {config.type}: remove it, or change the type")


def _check(check: Check, path: Path) -> Iterator[Fault]:
    chosen = check.port_specification
    if chosen == "USE_FIXED_PORT" and check.port is None:
        yield Fault((*path, "port"), "missing: write the number that USE_FIXED_PORT speaks of")
    if chosen == "USE_NAMED_PORT" and check.port_name is None:
        yield Fault((*path, "portName"), "missing: write the name that USE_NAMED_PORT speaks of")
    if chosen == "USE_SERVING_PORT" and check.port is not None:
        yield Fault((*path, "port"), "USE_SERVING_PORT takes the endpoint's own port: remove `port`")
    for name, value in (("portName", check.port_name), ("response", check.response), ("request", check.request)):
        if value is not None:
            yield Fault((*path, name), _NO_EFFECT, "note")
    if check.proxy_header != "NONE":
        yield Fault((*path, "proxyHeader"), _NO_EFFECT, "note")


def backend(_: Meta, written: Spec[BackendSpec]) -> Iterator[Fault]:
    default = written.spec.default
    without = (
        ("backendPreference", default.backend_preference),
        ("connectionDraining", default.connection_draining),
        ("iap", default.iap),
        ("logging", default.logging),
        ("securityPolicy", default.security_policy),
        ("sessionAffinity", default.session_affinity),
    )
    for name, value in without:
        if value is not None:
            yield Fault(("spec", "default", name), _NO_EFFECT, "note")
