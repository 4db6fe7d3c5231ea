"""Rules of Deployment, StatefulSet and Pod (the API server's validation)."""

from collections.abc import Iterator

from headgate.api.fault import Fault, Path
from headgate.api.formats import host_port
from headgate.api.gateway import LabelSelector
from headgate.api.meta import Meta
from headgate.api.rules import selectors
from headgate.api.rules.pod import pod_spec
from headgate.api.rules.sameness import repeated
from headgate.api.written.metadata import Spec
from headgate.api.written.workload import ADDRESS, DeploymentSpec, StatefulSetSpec, Template, WrittenPod

_TEMPLATE: Path = ("spec", "template")


def deployment(_: Meta, written: Spec[DeploymentSpec]) -> Iterator[Fault]:
    spec = written.spec
    yield from _template(spec.selector, spec.template, frozenset())
    rolling = spec.strategy.rolling_update
    path: Path = ("spec", "strategy", "rollingUpdate")
    if rolling and spec.strategy.type == "Recreate":
        yield Fault(path, "does not go with type Recreate: remove it, or write `type: RollingUpdate`")
    elif rolling and rolling.max_unavailable in (0, "0%") and rolling.max_surge in (0, "0%"):
        yield Fault(
            (*path, "maxUnavailable"), "0, as maxSurge is: no Pod could ever be replaced; write one of them as 1"
        )


def stateful_set(_: Meta, written: Spec[StatefulSetSpec]) -> Iterator[Fault]:
    spec = written.spec
    claims = [claim.metadata.name for claim in spec.volume_claim_templates]
    path: Path = ("spec", "volumeClaimTemplates")
    yield from repeated(claims, path, ("metadata", "name"), '"{value}" is the name of {first} too: give each its own')
    yield from _template(spec.selector, spec.template, frozenset(claims))


def _template(selector: LabelSelector, template: Template, claims: frozenset[str]) -> Iterator[Fault]:
    yield from selectors.check(selector, ("spec", "selector"))
    labels = template.metadata.labels
    if selectors.empty(selector):
        yield Fault(("spec", "selector"), "it selects everything: write `matchLabels:` with labels of the template")
    elif not selectors.matches(selector, labels):
        wrong = [f"{key}: {value}" for key, value in selector.match_labels.items() if labels.get(key) != value]
        need = ", ".join(wrong) or "what spec.selector asks for"
        yield Fault((*_TEMPLATE, "metadata", "labels"), f"the selector does not match them: write {need}")
    yield from _address(template.metadata.annotations, (*_TEMPLATE, "metadata"))
    yield from pod_spec(template.spec, (*_TEMPLATE, "spec"), claims, ADDRESS in template.metadata.annotations)
    if template.spec.restart_policy != "Always":
        message = f"{template.spec.restart_policy} is for Pods that end: write Always, or remove the line"
        yield Fault((*_TEMPLATE, "spec", "restartPolicy"), message)


def pod(meta: Meta, written: WrittenPod) -> Iterator[Fault]:
    yield from _address(meta.annotations, ("metadata",))
    if written.spec is not None:
        yield from pod_spec(written.spec, ("spec",), frozenset(), ADDRESS in meta.annotations)
    elif ADDRESS not in meta.annotations:
        message = f"missing: write `spec:` with containers; or the annotation {ADDRESS} for a server that already runs"
        yield Fault(("spec",), message)


def _address(annotations: object, path: Path) -> Iterator[Fault]:
    if isinstance(annotations, dict) and ADDRESS in annotations and host_port(annotations[ADDRESS]) is None:
        message = f'"{annotations[ADDRESS]}" is no address: write HOST:PORT, such as 10.0.0.7:8000 or [fd00::7]:8000'
        yield Fault((*path, "annotations", ADDRESS), message)
