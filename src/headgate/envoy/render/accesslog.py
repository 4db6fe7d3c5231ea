"""A line of JSON for each request that Envoy serves by itself. Of the others the exchange knows more, and tells it."""

from headgate.envoy.render.settings import Data, Settings, typed

ASKED = "asked"  # the name of all routes that lead to the exchange, or come from it

_FIELDS = {
    "id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(X-FORWARDED-HOST)%",
    "path": "%PATH(NQ)%",
    "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "route": "%ROUTE_NAME%",
    "pool": "%UPSTREAM_CLUSTER_RAW%",
    "endpoint": "%UPSTREAM_HOST%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "began": "%START_TIME(%s.%6f)%",  # Unix time in seconds
    "first_us": "%COMMON_DURATION(DS_RX_BEG:US_RX_BEG:us)%",
    "whole_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
}


def access_log(settings: Settings) -> Data:
    by_name = typed(
        "extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        expression=f"!has(xds.route_name) || xds.route_name != '{ASKED}'",
    )
    file = typed(
        "extensions.access_loggers.file.v3.FileAccessLog", path=settings.log, log_format={"json_format": _FIELDS}
    )
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"extension_filter": {"name": "by-name", "typed_config": by_name}},
        "typed_config": file,
    }
