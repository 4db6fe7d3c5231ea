"""What a container's variables are, by Kubernetes' rules. Pure.

Sources: `EnvVar`, `EnvFromSource` and "$(VAR)" expansion of the core/v1 API.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from msgspec import Struct

from headgate.api.formats import amount
from headgate.api.snapshot import Snapshot
from headgate.api.workload import Container, EnvSource, EnvVar, ResourceFieldRef, Resources

HUGGING_FACE = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_API_TOKEN")

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


class Identity(Struct, frozen=True):
    """Who a Pod is: what `fieldRef` and `resourceFieldRef` can ask for."""

    name: str
    namespace: str
    uid: str
    address: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    node: str
    service_account: str = ""
    cpus: int = 1
    memory: int = 0  # bytes, of the machine
    ports: Mapping[int, int] = {}  # those that stand for others here, see ports.py
    resources: Mapping[str, Resources] = {}  # of each container, by its name


class Environment(Struct, frozen=True):
    """The variables, and what stood in their way.

    `missing`: what the container must wait for (kubelet's CreateContainerConfigError). `unset`: variables that were
    left out because nothing here needs the Secret they come from.
    """

    variables: dict[str, str]
    missing: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by its value; `$$(NAME)` is written `$(NAME)`; a name that is unknown stays as written."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return _REFERENCE.sub(replace, text)


def expand_all(words: Sequence[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(expand(word, variables) for word in words)


def environment(
    container: Container, who: Identity, snapshot: Snapshot, own: Mapping[str, str], *, secrets_optional: bool
) -> Environment:
    """The container's variables in the order written, later ones seeing earlier ones.

    `own` is the user's environment, which Hugging Face tokens may come from. With `secrets_optional` (the simulator)
    a Secret that is not there leaves its variables unset instead of being waited for.
    """
    configs = {found.meta.name: found.data for found in snapshot.config_maps if found.meta.namespace == who.namespace}
    secrets = {
        found.meta.name: {key: value.decode("utf-8", "replace") for key, value in found.data.items()}
        for found in snapshot.secrets
        if found.meta.namespace == who.namespace
    }
    variables: dict[str, str] = {}
    missing: list[str] = []
    unset: list[str] = []
    for source in container.env_from:
        for kind, reference, objects in (
            ("ConfigMap", source.config_map_ref, configs),
            ("Secret", source.secret_ref, secrets),
        ):
            if reference is None:
                continue
            data = objects.get(reference.name)
            if data is not None:
                named = {source.prefix + key: value for key, value in data.items()}
                variables |= {key: value for key, value in named.items() if _NAME.match(key)}
            elif not reference.optional:
                where = unset if kind == "Secret" and secrets_optional else missing
                where.append(f"{kind} {who.namespace}/{reference.name}")
    for var in container.env:
        if var.value_from is None:
            variables[var.name] = expand(var.value, variables)
            continue
        value, wanted = _value(container, var, var.value_from, who, configs, secrets, own)
        if value is not None:
            variables[var.name] = value
        elif wanted:
            optional = var.value_from.secret_key_ref is not None and secrets_optional
            (unset if optional else missing).append(f"{wanted} (for {var.name})")
    return Environment(variables, tuple(missing), tuple(unset))


def _value(
    container: Container,
    var: EnvVar,
    source: EnvSource,
    who: Identity,
    configs: Mapping[str, Mapping[str, str]],
    secrets: Mapping[str, Mapping[str, str]],
    own: Mapping[str, str],
) -> tuple[str | None, str]:
    """The value, or None and what is missing ("" where it may be)."""
    if source.field_ref is not None:
        value = _field(source.field_ref.field_path, who)
        return value, "" if value is not None else f"field {source.field_ref.field_path}"
    if source.resource_field_ref is not None:
        of = source.resource_field_ref.container_name or container.name
        if of not in who.resources:
            return None, f"container {of}, whose resources it asks for"
        return _resource(source.resource_field_ref, who.resources[of], who), ""
    kind, reference, objects = "ConfigMap", source.config_map_key_ref, configs
    if reference is None:
        kind, reference, objects = "Secret", source.secret_key_ref, secrets
    if reference is None:
        return "", ""
    value = objects.get(reference.name, {}).get(reference.key)
    if value is None and kind == "Secret" and var.name in HUGGING_FACE:
        value = next((own[name] for name in (var.name, *HUGGING_FACE) if own.get(name)), None)
    if value is None and not reference.optional:
        return None, f"{kind} {who.namespace}/{reference.name} key {reference.key!r}"
    return value, ""


def _field(path: str, who: Identity) -> str | None:
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return (who.labels if subscript[1] == "labels" else who.annotations).get(subscript[2], "")
    fields: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: who.name,
        "metadata.namespace": lambda: who.namespace,
        "metadata.uid": lambda: who.uid,
        "spec.nodeName": lambda: who.node,
        "spec.serviceAccountName": lambda: who.service_account or "default",
        "status.podIP": lambda: who.address,
        "status.podIPs": lambda: who.address,
        "status.hostIP": lambda: "127.0.0.1",
        "status.hostIPs": lambda: "127.0.0.1",
    }
    return fields[path]() if path in fields else None


def _resource(reference: ResourceFieldRef, of: Resources, who: Identity) -> str:
    """As kubelet: what is written, else all that the machine has for a limit, the limit for a request.

    Rounded up, in units of the divisor.
    """
    group, _, resource = reference.resource.partition(".")
    written = of.limits.get(resource) if group == "limits" else of.requests.get(resource, of.limits.get(resource))
    if written is not None:
        found = amount(written) or Fraction(0)
    else:
        machine = {"cpu": who.cpus, "memory": who.memory} if group == "limits" else {}
        found = Fraction(machine.get(resource, 0))
    return str(math.ceil(found / (amount(reference.divisor) or Fraction(1))))
