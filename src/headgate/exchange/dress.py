"""The answer's headers as the route wants them: edited, shared with other origins, with the session's token."""

from headgate.exchange.arrival import Job
from headgate.exchange.cors import share
from headgate.exchange.edits import edit_headers
from headgate.exchange.events import Headers
from headgate.exchange.session import renewed, told
from headgate.fleet.endpoint import Endpoint


def dress(headers: Headers, job: Job, endpoint: Endpoint | None, unix_now: float, stamps: Headers | None) -> Headers:
    """`endpoint` is the one that answers; `stamps` are headers of the gateway's own, in place of the server's."""
    if stamps:
        own = {name for name, _ in stamps}
        headers = [pair for pair in headers if pair[0] not in own] + stamps
    way, caller, session = job.way, job.caller, job.way.route.session
    headers = edit_headers(headers, way.backend.response, way.route.response)
    if way.cors is not None:
        headers = share(way.cors, caller.origin, headers)
    if session is not None and endpoint is not None:
        token = renewed(session, caller.token, endpoint, unix_now)
        if token is not None:
            headers = [*headers, told(session, token, caller.secure)]
    return headers
