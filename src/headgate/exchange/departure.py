"""A request as a server gets it.  `outward`: what was asked, and which way it goes → head and body."""

from headgate.exchange.edits import edit_headers, rewrite
from headgate.exchange.events import Asked
from headgate.exchange.forwarded import forwarded, hop
from headgate.exchange.record import Record
from headgate.exchange.request import RequestHead, wire
from headgate.exchange.site import PoolView, Site, Way
from headgate.exchange.trailers import in_chunks, of_request

_BODILESS = (b"GET", b"HEAD", b"OPTIONS", b"DELETE")  # methods that need no `content-length: 0`
_SWITCH = b"connection: upgrade\r\nupgrade: websocket\r\n"


def outward(
    event: Asked, head: RequestHead, body: bytes, site: Site, record: Record, way: Way, view: PoolView, decoded: bool
) -> tuple[bytes, bytes]:
    """Request line and headers, and the body.

    `head` is that of the event without what is not for servers. `decoded`: the body is without the coding that it came
    in.
    """
    model = record.model
    framing = b"content-length: %d\r\n" % len(body) if body or head.method not in _BODILESS else b""
    if head.switches:
        framing = _SWITCH
    elif event.trailers and view.pool.kind != "inference":  # model servers have no use for them
        trailers = of_request(event.trailers, head.headers, way.route.request, way.backend.request)
        framing, body = in_chunks(body, trailers) if trailers else (framing, body)
    if way.edited or decoded or (view.ray and model):
        return _edited(event, head, site, record, way, ray=view.ray, decoded=decoded) + framing + b"\r\n", body
    own = way.own if site.base_models.get(model, "") == way.base else model_lines(site, model)
    lines = head.lines
    if not way.counted:  # else what comes back has to be read
        lines += head.compressions
    if head.forwarded:
        own += b"forwarded: %b\r\n" % forwarded(head.forwarded, event.peer, way.host, site.scheme)
    start = b"%b%b%bx-forwarded-for: %b%b\r\nx-forwarded-proto: %b\r\nx-request-id: %b\r\n%b\r\n" % (
        way.start,
        lines,
        own,
        head.forwarded_for,
        event.peer,
        site.scheme,
        head.id or event.id,
        framing,
    )
    return start, body


def request_line(method: bytes, target: str, host: str) -> bytes:
    """With the Host header."""
    return b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target.encode("latin-1"), host.encode("latin-1"))


def model_lines(site: Site, model: str) -> bytes:
    if not model:
        return b""
    base = site.base_models.get(model, "").encode()
    return b"x-gateway-model-name: %b\r\nx-gateway-base-model-name: %b\r\n" % (model.encode(), base)


def _edited(
    event: Asked, head: RequestHead, site: Site, record: Record, way: Way, *, ray: bool, decoded: bool
) -> bytes:
    """Request line and headers where a route, or Ray, wants some of them changed, be it those of the gateway."""
    model, route = record.model, way.route
    headers = [pair for pair in head.kept if not way.counted or pair[0] != b"accept-encoding"]
    headers += hop(event, way.host, site.scheme)
    if decoded:
        headers = [pair for pair in headers if pair[0] != b"content-encoding"]
    if model:
        headers.append((b"x-gateway-model-name", model.encode()))
        headers.append((b"x-gateway-base-model-name", site.base_models.get(model, "").encode()))
        if ray:
            headers = [pair for pair in headers if pair[0] != b"serve_multiplexed_model_id"]
            headers.append((b"serve_multiplexed_model_id", record.target.encode()))
    target, host = head.target.text, way.host
    if route.request is not None or way.backend.request is not None:
        headers = edit_headers(headers, route.request, way.backend.request)
        host = next((value.decode("latin-1") for name, value in headers if name == b"host"), host)
        headers = [pair for pair in headers if pair[0] != b"host"]
    target, host = rewrite(target, host, route.match, way.backend.rewrite, route.rewrite)
    return request_line(head.method, target, host) + wire(headers)
