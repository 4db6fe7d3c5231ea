"""Pools for tests, written down in a line."""

from headgate.fleet.endpoint import Endpoint, Load, Served
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.standing import Standing


def endpoint(name: str, **more) -> Endpoint:
    return Endpoint(**{"name": name, "address": f"10.0.0.{ord(name[0])}", "port": 8000, **more})


def served(*models: str) -> tuple[Served, ...]:
    """`base` is a base model, `base/adapter` one of its adapters."""
    return tuple(Served(*reversed(model.split("/"))) if "/" in model else Served(model) for model in models)


def standing(
    loads: dict[str, Load], *, ledger: Ledger | None = None, index: PrefixIndex | None = None, **more
) -> Standing:
    """One endpoint for each load; `more` are endpoints' fields by name: `a={"ready": False}`."""
    endpoints = [endpoint(name, **more.get(name, {})) for name in loads]
    return Standing("ns/pool", endpoints, loads, ledger or Ledger(), index or PrefixIndex())
