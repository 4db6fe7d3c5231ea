"""Who gets a copy of a request, as the route's mirrors want it."""

from headgate.exchange.site import Site, Way
from headgate.fleet.endpoint import Endpoint
from headgate.pick.choose import choose
from headgate.pick.decision import Ask


def copied_to(way: Way, ask: Ask, site: Site) -> tuple[Endpoint, ...]:
    """One endpoint of each mirror's pool whose turn it is; ask once for a request, however often it is tried."""
    found = []
    for mirror in way.mirrors:
        view = site.pools.get(mirror.pool)
        if view is None or (mirror.share < 1.0 and site.dice() >= mirror.share):
            continue
        endpoint = choose(ask, view.standing, view.profile, site.dice).endpoint
        if endpoint is not None:
            found.append(endpoint)
    return tuple(found)
