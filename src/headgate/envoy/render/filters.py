"""The HTTP filters of a listener: CORS, our processor where somebody has to be asked, the router."""

from headgate.envoy.hints import NAMESPACE, SITE
from headgate.envoy.render import cors
from headgate.envoy.render.settings import PROCESSOR, Data, Settings, seconds, typed

PROCESSING = "envoy.filters.http.ext_proc"


def http_filters(place: str, settings: Settings, *, asked: bool, sharing: bool) -> list[Data]:
    found = []
    if sharing:
        found.append({"name": cors.FILTER, "typed_config": typed("extensions.filters.http.cors.v3.Cors")})
    if asked:
        found.append({"name": PROCESSING, "typed_config": _processor(place, settings)})
    router = typed("extensions.filters.http.router.v3.Router")
    return [*found, {"name": "envoy.filters.http.router", "typed_config": router}]


def _processor(place: str, settings: Settings) -> Data:
    """Of an answer it sees what the exchange asks for with its first word (`allow_mode_override`)."""
    return typed(
        "extensions.filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={
            "envoy_grpc": {"cluster_name": PROCESSOR},
            "initial_metadata": [{"key": SITE, "value": place}],
        },
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        message_timeout=seconds(settings.patience_s),
        max_message_timeout=seconds(settings.patience_s),
        allow_mode_override=True,
        processing_mode={
            "request_header_mode": "SEND",
            "request_body_mode": "BUFFERED",
            "request_trailer_mode": "SKIP",
            "response_header_mode": "SEND",
            "response_body_mode": "FULL_DUPLEX_STREAMED",
            "response_trailer_mode": "SEND",
        },
        response_attributes=["upstream.address"],
        metadata_options={"receiving_namespaces": {"untyped": [NAMESPACE]}},
        mutation_rules={"allow_all_routing": True},
    )


def heads_alone() -> Data:
    """For what has no body that ends."""
    mode = {"request_header_mode": "SEND", "response_header_mode": "SEND"}
    return typed("extensions.filters.http.ext_proc.v3.ExtProcPerRoute", overrides={"processing_mode": mode})
