"""Filters: which endpoints may serve a request at all. Each is a predicate; they run in the profile's order."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address

from msgspec import Struct

from headgate.fleet.endpoint import Endpoint, Load
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask
from headgate.pick.draws import Dice
from headgate.pick.skipped import Skipped

Filter = Callable[[Ask, Endpoint, Load], bool]
Count = Callable[[str], int]  # our own requests in flight at an endpoint, by its name


Sift = Callable[[Ask, Candidates, Dice], Sequence[bool] | Skipped]  # who stays, of all at once, or why it is skipped


def anyone(ask: Ask, endpoint: Endpoint, load: Load, count: Count) -> bool:
    return True


class Sieve(Struct, frozen=True):
    """A filter that a configuration has made. `steady`: its answers hold until loads or endpoints change; `soft`: it
    removes nobody where it would remove everybody. `among` takes the place of `keep`, and is never steady.
    """

    name: str
    keep: Callable[[Ask, Endpoint, Load, Count], bool] = anyone
    steady: bool = True
    soft: bool = False
    among: Sift | None = None


def ready(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    return endpoint.ready


def not_draining(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    return not endpoint.draining


def serves_model(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    """An endpoint whose list of models was not read yet is believed to serve anything."""
    model = ask.model
    if not model or load.models is None:
        return True
    for served in load.models:  # noqa: SIM110 - a generator would cost three times as much, for each endpoint
        if served.id == model:
            return True
    return False


def subset(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    """Endpoint Picker Protocol: the proxy may say which endpoints it can reach, as `ip` or `ip:port`."""
    if ask.subset is None:
        return True
    return named_by(ask.subset, endpoint)


def not_tried(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    return endpoint.name not in ask.exclude


def not_ejected(ask: Ask, endpoint: Endpoint, load: Load) -> bool:
    return not endpoint.ejected


FILTERS: dict[str, Filter] = {
    "ready": ready,
    "not-draining": not_draining,
    "serves-model": serves_model,
    "subset": subset,
    "not-tried": not_tried,
    "not-ejected": not_ejected,
}

# Those that remove nobody where they would remove everybody: an endpoint that may fail is better than none.
SOFT_FILTERS = frozenset({"not-ejected"})

# Those that look at nothing of the request but its model: their answers hold until loads or endpoints change.
STEADY_FILTERS = frozenset({"ready", "not-draining", "serves-model", "not-ejected"})


def named_by(entries: Iterable[str], endpoint: Endpoint) -> bool:
    """Whether one of them, as `ip` or `ip:port`, is the endpoint's."""
    address = _canonical(endpoint.address)
    return any(_place(entry) in ((address, None), (address, endpoint.port)) for entry in entries)


@lru_cache(maxsize=4096)
def _place(entry: str) -> tuple[str, int | None]:
    """`1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80` or a name in place of the address → address, port."""
    entry = entry.strip()
    address, colon, port = entry.rpartition(":")
    bare = not address.startswith("[") and ":" in address  # IPv6 without brackets has no port
    if colon and not bare and port.isdecimal():
        return _canonical(address), int(port)
    return _canonical(entry), None


@lru_cache(maxsize=4096)
def _canonical(address: str) -> str:
    """One spelling for each IPv6 address."""
    address = address.strip("[]").lower()
    if ":" in address:
        try:
            return ip_address(address).compressed
        except ValueError:
            return address
    return address


# Those that pass everything unless the request says otherwise.
SELDOM_FILTERS = frozenset({"subset", "not-tried"})


def sift(
    ask: Ask,
    endpoints: Sequence[Endpoint],
    loads: Sequence[Load],
    names: Sequence[str],
    sieves: Sequence[Sieve] = (),
    count: Count = lambda name: 0,
) -> tuple[list[Endpoint], list[Load], dict[str, tuple[str, ...]]]:
    """What the filters leave, with its loads, and what each of them removed (those that removed none are not there)."""
    kept = list(zip(endpoints, loads, strict=True))
    removed: dict[str, tuple[str, ...]] = {}
    usual = ask.subset is None and not ask.exclude
    for name in names:
        if usual and name in SELDOM_FILTERS:
            continue
        keep = FILTERS[name]
        kept = _pass(name, [pair for pair in kept if keep(ask, *pair)], kept, removed, soft=name in SOFT_FILTERS)
    for sieve in sieves:
        passed = [pair for pair in kept if sieve.keep(ask, *pair, count)]
        kept = _pass(sieve.name, passed, kept, removed, soft=sieve.soft)
    return [endpoint for endpoint, _ in kept], [load for _, load in kept], removed


_Pairs = list[tuple[Endpoint, Load]]


def _pass(name: str, passed: _Pairs, kept: _Pairs, removed: dict[str, tuple[str, ...]], *, soft: bool) -> _Pairs:
    """What is left of the `kept`; who was removed is noted."""
    if len(passed) == len(kept) or (soft and not passed):
        return kept
    gone = {endpoint.name for endpoint, _ in kept} - {endpoint.name for endpoint, _ in passed}
    removed[name] = tuple(sorted(gone))
    return passed
