"""The same configuration as one file that needs no other: what `envoy -c` and `envoy --mode validate` take."""

from collections.abc import Iterable, Mapping

from headgate.envoy.render.settings import Data


def in_one(configurations: Iterable[Mapping[str, Data]]) -> Data:
    """Of what `render` made of one plan, or of several whose listeners and clusters differ in their names."""
    listeners: dict[str, Data] = {}
    clusters: dict[str, Data] = {}
    found: Data = {}
    for files in configurations:
        found = {key: value for key, value in files["bootstrap"].items() if key != "dynamic_resources"}
        routes = _by("name", "routes/", files)
        endpoints = _by("cluster_name", "endpoints/", files)
        for one in _by("name", "listeners", files).values():
            listeners[one["name"]] = one | {"filter_chains": [_routed(chain, routes) for chain in one["filter_chains"]]}
        for name, one in _by("name", "clusters", files).items():
            fixed = {"type": "STATIC", "load_assignment": endpoints[name]}
            clusters[name] = {key: value for key, value in one.items() if key != "eds_cluster_config"} | fixed
    own = found.get("static_resources", {}).get("clusters", [])
    return found | {"static_resources": {"listeners": [*listeners.values()], "clusters": [*own, *clusters.values()]}}


def _by(key: str, prefix: str, files: Mapping[str, Data]) -> dict[str, Data]:
    """The resources of all files whose name begins so."""
    resources = [one for name, file in files.items() if name.startswith(prefix) for one in file["resources"]]
    return {one[key]: {name: value for name, value in one.items() if name != "@type"} for one in resources}


def _routed(chain: Data, routes: Mapping[str, Data]) -> Data:
    (manager,) = chain["filters"]
    config = dict(manager["typed_config"])
    config["route_config"] = routes[config.pop("rds")["route_config_name"]]
    return chain | {"filters": [manager | {"typed_config": config}]}
