"""Rules of the plugins that keep requests of a session together."""

from collections.abc import Iterator, Mapping
from typing import Any

from headgate.api.fault import Fault, Path
from headgate.api.written.picker import WrittenPickerConfig
from headgate.api.written.plugins import SessionAffinity, SessionIdProducer

_ATTRIBUTES = {"agent-identity": "agent-identity", "SessionIDDataKey": "session-id-producer"}  # and who makes each
_FRAMING = ("connection", "content-length", "content-type", "date", "set-cookie", "trailer", "transfer-encoding")


def sessions(value: Any, path: Path) -> Iterator[Fault]:
    """What no type can say of a plugin's parameters."""
    if isinstance(value, SessionIdProducer) and bool(value.header_name) == bool(value.cookie_name):
        yield Fault(path, "write one of headerName and cookieName")
    if not isinstance(value, SessionAffinity):
        return
    header = value.encoded_endpoint_header_config.header
    if header.lower() in _FRAMING:
        told = f"{header} means something else in an answer: write a name of its own, such as x-session-token"
        yield Fault((*path, "encodedEndpointHeaderConfig", "header"), told)
    for i, source in enumerate(value.session_id_config.sources):
        if bool(source.header) == bool(source.attribute):
            yield Fault((*path, "sessionIdConfig", "sources", i), "write one of header and attribute")


def sources(written: WrittenPickerConfig) -> Iterator[Fault]:
    """Whether the attributes that sessions go by are there."""
    types = {plugin.name or plugin.type: plugin.type for plugin in written.plugins}
    for i, plugin in enumerate(written.plugins):
        if not plugin.type.startswith("session-affinity-"):
            continue
        for j, source in enumerate(_listed(plugin.parameters)):
            attribute = source.get("attribute") if isinstance(source, Mapping) else None
            if not isinstance(attribute, str) or not attribute:
                continue
            path = ("plugins", i, "parameters", "sessionIdConfig", "sources", j)
            maker = _ATTRIBUTES.get(attribute)
            if maker is None:
                told = f'there is no attribute "{attribute}" here: write one of {", ".join(sorted(_ATTRIBUTES))}'
                yield Fault((*path, "attribute"), told)
            elif maker == "agent-identity":
                if maker not in types.values():
                    yield Fault((*path, "attribute"), "nothing makes it: write the plugin agent-identity too")
            elif types.get(str(source.get("producer") or maker)) != maker:
                yield Fault((*path, "producer"), f"no {maker} is called so: write the name of one")


def _listed(parameters: Any) -> list[Any]:
    config = parameters.get("sessionIdConfig") if isinstance(parameters, Mapping) else None
    listed = config.get("sources") if isinstance(config, Mapping) else None
    return listed if isinstance(listed, list) else []
