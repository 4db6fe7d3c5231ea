"""`headgate render envoy`: the configuration as one text, or as the files of a folder."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from headgate.envoy.render import Settings, encode, render
from headgate.envoy.render.settings import Data
from headgate.envoy.render.tls import secrets
from headgate.envoy.render.whole import in_one
from headgate.fleet.endpoint import Endpoint
from headgate.fleet.members import members
from headgate.plan.plan import Plan
from headgate.runtime.addresses import assign
from headgate.runtime.config import Reading
from headgate.runtime.envoy.sockets import sockets
from headgate.runtime.envoy.store import Store, write
from headgate.runtime.envoy.trust import trusted
from headgate.runtime.pods.addressed import addressed


def printed(reading: Reading, given: argparse.Namespace) -> str:
    """One file, which names no other but those with certificates."""
    return encode(in_one([_files(reading, _settings(given, Path.cwd()), given)]), "yaml").decode()


def written(reading: Reading, given: argparse.Namespace) -> None:
    """Files that have not changed are left alone, and those that nothing leads to any more go. Raises OSError."""
    folder = Path(given.output).absolute()
    settings = _settings(given, folder)
    files = _files(reading, settings, given)
    for name, content in secrets(reading.plan).items():
        write(folder / name, content)
    store = Store(settings)
    store.put({name: data for name, data in files.items() if not _is_there(settings, name, data)})
    for path in (*folder.glob("endpoints/*.yaml"), *folder.glob("routes/*.yaml")):
        if f"{path.parent.name}/{path.stem}" not in files:
            path.unlink()


def _is_there(settings: Settings, name: str, data: Data) -> bool:
    path = Path(settings.path(name))
    return path.exists() and path.read_bytes() == encode(data, settings.form)


def _settings(given: argparse.Namespace, folder: Path) -> Settings:
    return Settings(
        folder=str(folder),
        processor=given.processor or f"{folder}/processor.sock",
        admin=given.admin,
        authorities=trusted(),
    )


def _files(reading: Reading, settings: Settings, given: argparse.Namespace) -> dict[str, Data]:
    plan = reading.plan
    assigned = assign(plan.listeners, given.address, privileged=given.privileged_ports)
    return render(plan, sockets(plan, assigned), _endpoints(plan, reading), settings)


def _endpoints(plan: Plan, reading: Reading) -> Mapping[str, tuple[Endpoint, ...]]:
    """Of servers that already run: others have no address yet."""
    servers = [replace(one.server, ready=True) for one in addressed(reading.snapshot)]  # nobody has asked them
    return {name: members(pool.namespace, pool.selector, pool.ports, servers) for name, pool in plan.pools.items()}
