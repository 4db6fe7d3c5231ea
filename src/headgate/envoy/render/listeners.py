"""A socket as one of Envoy's listeners, and its route configurations: one, or by TLS one for each of the plan's."""

from collections.abc import Mapping, Sequence

from headgate.envoy.hints import DESTINATION, ROUTE
from headgate.envoy.render import tls
from headgate.envoy.render.accesslog import access_log
from headgate.envoy.render.actions import Scene
from headgate.envoy.render.asks import any_asks
from headgate.envoy.render.filters import http_filters
from headgate.envoy.render.hosts import virtual_hosts
from headgate.envoy.render.settings import (
    Data,
    Settings,
    Socket,
    place_name,
    safe,
    seconds,
    typed,
)
from headgate.exchange.request import OURS
from headgate.plan.plan import Listener, Pool

_FLAGS = ["UH", "UF", "UO", "LR", "UC", "UR", "UT", "NR", "NC", "DPE", "UPE", "SI", "IH", "DT"]
_HOST = {
    "header": {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"},
    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
}
_KINDS = ((500, "server_error"), (400, "invalid_request_error"))


def listener(socket: Socket, pools: Mapping[str, Pool], settings: Settings) -> Data:
    found: Data = {
        "name": socket.name,
        "address": {"socket_address": {"address": socket.address, "port_value": socket.port}},
        **_more(socket),
        "per_connection_buffer_limit_bytes": settings.body,
        "enable_reuse_port": True,
    }
    if socket.listeners[0].tls is None:
        return found | {"filter_chains": [{"filters": [_manager(socket, None, socket.listeners, pools, settings)]}]}
    inspector = typed("extensions.filters.listener.tls_inspector.v3.TlsInspector")
    found["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": inspector}]
    found["filter_chains"] = [_chain(socket, one, pools, settings) for one in socket.listeners if one.tls is not None]
    return found


def _more(socket: Socket) -> Data:
    others = [{"address": address, "port_value": socket.port} for address in socket.more]
    return {"additional_addresses": [{"address": {"socket_address": one}} for one in others]} if others else {}


def _chain(socket: Socket, one: Listener, pools: Mapping[str, Pool], settings: Settings) -> Data:
    assert one.tls is not None
    found: Data = {"name": one.name}
    if one.hostname:
        found["filter_chain_match"] = {"server_names": [one.hostname]}
    found["filters"] = [_manager(socket, one, (one,), pools, settings)]
    return found | {"transport_socket": tls.downstream(one.tls, settings)}


def routes(socket: Socket, pools: Mapping[str, Pool], settings: Settings) -> dict[str, Data]:
    """Route configurations by name."""
    if socket.listeners[0].tls is None:
        scene = Scene(settings, pools, socket, "http", "")
        return {socket.name: _configuration(socket.name, socket.listeners, (), scene)}
    found = {}
    for one in socket.listeners:
        elsewhere = [other.hostname for other in socket.listeners if other is not one]
        name = place_name(socket, one)
        found[name] = _configuration(name, (one,), elsewhere, Scene(settings, pools, socket, "https", ""))
    return found


def _configuration(name: str, listeners: Sequence[Listener], elsewhere: Sequence[str], scene: Scene) -> Data:
    return {
        "name": name,
        "ignore_port_in_host_matching": True,
        "virtual_hosts": virtual_hosts(listeners, elsewhere, scene),
        "request_headers_to_remove": [ROUTE, DESTINATION],
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
    }


def _manager(
    socket: Socket, one: Listener | None, listeners: Sequence[Listener], pools: Mapping[str, Pool], settings: Settings
) -> Data:
    name = place_name(socket, one)
    path = settings.path(f"routes/{safe(name)}")
    all_ = [route for listener in listeners for route in listener.routes]
    sharing = any(route.cors or any(backend.cors for backend in route.backends) for route in all_)
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=safe(name),
        codec_type="AUTO",
        rds={
            "route_config_name": name,
            "config_source": {"path_config_source": {"path": path}, "resource_api_version": "V3"},
        },
        http_filters=http_filters(name, settings, asked=any_asks(listeners, pools), sharing=sharing),
        access_log=[access_log(settings)],
        early_header_mutation_extensions=[_strip()],
        use_remote_address=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        server_header_transformation="PASS_THROUGH",
        normalize_path=True,
        http_protocol_options={"accept_http_10": True, "enable_trailers": True},
        common_http_protocol_options={"max_headers_count": settings.headers, "idle_timeout": "600s"},
        max_request_headers_kb=max(1, settings.head >> 10),
        request_headers_timeout="30s",
        delayed_close_timeout="0.1s",
        stream_idle_timeout=seconds(max(settings.first_byte_s, settings.silence_s, settings.patience_s)),
        upgrade_configs=[{"upgrade_type": "websocket"}],
        local_reply_config={"mappers": [_in_json(*kind) for kind in _KINDS]},
    )
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _strip() -> Data:
    """Ours to set, before anybody looks: what a client sends under these names is dropped. The host is kept, as it
    is before anybody rewrites it, for servers and for the log.
    """
    names = sorted({name.decode() for name in OURS} | {ROUTE})
    mutation = typed(
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[*({"remove": name} for name in names), {"append": _HOST}],
    )
    return {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": mutation}


def _in_json(least: int, kind: str) -> Data:
    """What Envoy says of its own accord, in the form that OpenAI clients read. What others say stays as it is."""
    status = {"comparison": {"op": "GE", "value": {"default_value": least, "runtime_key": f"headgate.errors_{least}"}}}
    error = {"message": "%LOCAL_REPLY_BODY%", "type": kind, "param": None, "code": "%RESPONSE_CODE%"}
    both = [{"status_code_filter": status}, {"response_flag_filter": {"flags": _FLAGS}}]
    return {"filter": {"and_filter": {"filters": both}}, "body_format_override": {"json_format": {"error": error}}}
