"""Deployment, StatefulSet and Pod."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.api.gateway import LabelSelector
from headgate.api.meta import Meta
from headgate.api.tree import Tree
from headgate.api.workload import Pod, PodSpec, PodTemplate, Volume, Workload
from headgate.api.written.metadata import Named, ObjectMeta, Spec

ADDRESS = "headgate.dev/address"

VOLUME_SOURCES = frozenset(
    {
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "glusterfs",
        "hostPath",
        "image",
        "iscsi",
        "nfs",
        "persistentVolumeClaim",
        "photonPersistentDisk",
        "portworxVolume",
        "projected",
        "quobyte",
        "rbd",
        "scaleIO",
        "secret",
        "storageos",
        "vsphereVolume",
    }
)

Count = Annotated[int, msgspec.Meta(ge=0)]
Percentage = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9]{1,3}%$", extra={"write": "write a number of Pods, or a percentage such as 25%"})
]


TemplateSelector = Annotated[
    LabelSelector, msgspec.Meta(extra={"write": "write `matchLabels:` and the labels of the template"})
]


class Template(Struct, frozen=True):
    spec: PodSpec
    metadata: ObjectMeta = ObjectMeta()


class RollingUpdate(Struct, frozen=True, rename="camel"):
    max_unavailable: Count | Percentage = "25%"
    max_surge: Count | Percentage = "25%"


class Strategy(Struct, frozen=True, rename="camel"):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rolling_update: RollingUpdate | None = None


class DeploymentSpec(Struct, frozen=True, rename="camel"):
    selector: TemplateSelector
    template: Template
    replicas: Count = 1
    strategy: Strategy = Strategy()
    min_ready_seconds: Count = 0


class PartitionedUpdate(Struct, frozen=True, rename="camel"):
    partition: Count = 0
    max_unavailable: Count | Percentage = 1


class UpdateStrategy(Struct, frozen=True, rename="camel"):
    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"
    rolling_update: PartitionedUpdate | None = None


class StatefulSetSpec(Struct, frozen=True, rename="camel"):
    selector: TemplateSelector
    template: Template
    replicas: Count = 1
    service_name: str = ""
    update_strategy: UpdateStrategy = UpdateStrategy()
    min_ready_seconds: Count = 0
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    volume_claim_templates: tuple[Named, ...] = ()


class WrittenPod(Struct, frozen=True):
    spec: PodSpec | None = None


def deployment(meta: Meta, written: Spec[DeploymentSpec], tree: Tree) -> Workload:
    spec = written.spec
    rolling = spec.strategy.rolling_update or RollingUpdate()
    return Workload(
        meta=meta,
        kind="Deployment",
        selector=spec.selector,
        template=_template(spec.template, tree),
        replicas=spec.replicas,
        max_unavailable=rolling.max_unavailable,
        max_surge=rolling.max_surge,
        recreate=spec.strategy.type == "Recreate",
        min_ready_seconds=spec.min_ready_seconds,
    )


def stateful_set(meta: Meta, written: Spec[StatefulSetSpec], tree: Tree) -> Workload:
    spec = written.spec
    rolling = spec.update_strategy.rolling_update or PartitionedUpdate()
    template = _template(spec.template, tree)
    claims = tuple(Volume(claim.metadata.name, "persistentVolumeClaim") for claim in spec.volume_claim_templates)
    return Workload(
        meta=meta,
        kind="StatefulSet",
        selector=spec.selector,
        template=replace(template, spec=replace(template.spec, volumes=(*template.spec.volumes, *claims))),
        replicas=spec.replicas,
        max_unavailable=rolling.max_unavailable,
        max_surge=0,
        min_ready_seconds=spec.min_ready_seconds,
        parallel=spec.pod_management_policy == "Parallel",
        service_name=spec.service_name,
    )


def pod(meta: Meta, written: WrittenPod, tree: Tree) -> Pod:
    return Pod(meta, _pod_spec(written.spec, tree, ("spec",)) if written.spec else None)


def _template(written: Template, tree: Tree) -> PodTemplate:
    spec = _pod_spec(written.spec, tree, ("spec", "template", "spec"))
    return PodTemplate(written.metadata.labels, written.metadata.annotations, spec)


def _pod_spec(spec: PodSpec, tree: Tree, path: tuple[str, ...]) -> PodSpec:
    """The spec with each volume's kind: the name of its source, also of the sources that are not read."""
    for step in (*path, "volumes"):
        tree = tree.value[step] if isinstance(tree.value, Mapping) and step in tree.value else Tree(0, None)
    if not isinstance(tree.value, tuple):
        return spec
    kinds = [next((key for key in _given(item) if key in VOLUME_SOURCES), "emptyDir") for item in tree.value]
    return replace(
        spec, volumes=tuple(replace(volume, kind=kind) for volume, kind in zip(spec.volumes, kinds, strict=True))
    )


def _given(tree: Tree) -> list[str]:
    fields = tree.value if isinstance(tree.value, Mapping) else {}
    return [name for name, child in fields.items() if child.value is not None]
