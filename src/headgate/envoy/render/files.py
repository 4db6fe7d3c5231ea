"""All files of a configuration.  `render`: plan, sockets, endpoints → data by file name;  `encode`: data → text."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
import yaml

from headgate.envoy.render.bootstrap import bootstrap
from headgate.envoy.render.clusters import assignment, cluster, endpoints_file
from headgate.envoy.render.listeners import listener, routes
from headgate.envoy.render.settings import Data, Settings, Socket, safe
from headgate.fleet.endpoint import Endpoint
from headgate.plan.plan import Plan, Pool

_UNBROKEN = 1 << 20
_TYPES = "type.googleapis.com/envoy.config."


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(
    plan: Plan, sockets: Sequence[Socket], endpoints: Mapping[str, Iterable[Endpoint]], settings: Settings
) -> dict[str, Data]:
    """The files by name, without their ending, in the order in which they must be there: what others name goes first.

    `endpoints` by pool. What has to be kept secret is in none of them: see `tls.secrets`.
    """
    pools = plan.pools
    found = dict(place(pool, endpoints.get(name, ()), settings) for name, pool in pools.items())
    found["clusters"] = _response("cluster.v3.Cluster", [cluster(pool, settings) for pool in pools.values()])
    for socket in sockets:
        for name, data in routes(socket, pools, settings).items():
            found[f"routes/{safe(name)}"] = _response("route.v3.RouteConfiguration", [data])
    found["listeners"] = _response("listener.v3.Listener", [listener(socket, pools, settings) for socket in sockets])
    found["bootstrap"] = bootstrap(settings)
    return found


def place(pool: Pool, endpoints: Iterable[Endpoint], settings: Settings) -> tuple[str, Data]:
    """The file with a pool's endpoints, and its name."""
    return endpoints_file(pool), _response("endpoint.v3.ClusterLoadAssignment", [assignment(pool, endpoints, settings)])


def _response(kind: str, resources: list[Data]) -> Data:
    """A DiscoveryResponse. Its version is a digest of what it says, so that it can be seen whether Envoy has it."""
    typed = [{"@type": _TYPES + kind, **{k: v for k, v in one.items() if k != "@type"}} for one in resources]
    version = sha256(msgspec.json.encode(typed)).hexdigest()[:16]
    return {"version_info": version, "resources": typed}


def encode(data: Data, form: str) -> bytes:
    if form == "json":
        return msgspec.json.encode(data)
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=_UNBROKEN
    )
    return text.encode()
