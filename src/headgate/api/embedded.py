"""An EndpointPickerConfig that stands as text in a ConfigMap, as pickers of others have it mounted."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from headgate.api.decode import decode
from headgate.api.fault import Fault, dotted
from headgate.api.meta import Meta
from headgate.api.picker import Picking
from headgate.api.rules.picker import picker_config
from headgate.api.texts import read
from headgate.api.tree import line_of
from headgate.api.written.picker import WrittenPickerConfig, picking
from headgate.api.written.plugins import PYTHON

KIND = "EndpointPickerConfig"
VERSIONS = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
_KIND = re.compile(rf"^[{{ \t]*+[\"']?kind[\"']?:\s*[\"']?{KIND}\b", re.MULTILINE)
_BESIDE = frozenset({"apiVersion", "kind", "metadata"})


def is_one(text: str) -> bool:
    """Whether the text wants to be one, even if it is no YAML."""
    return KIND in text and _KIND.search(text) is not None


@lru_cache(maxsize=256)
def embedded(text: str, *, local: bool = False) -> tuple[Picking | None, tuple[Fault, ...]]:
    """What it comes to, None where it has errors; and what is wrong, each at the line of the text.

    Policies in Python are taken from `local` texts alone: an object of a cluster shall bring no code to run here.
    """
    documents = [document for document in read(text) if document.tree is None or document.tree.value is not None]
    if len(documents) != 1:
        return None, (Fault((), f"it holds {len(documents)} documents: write one", line=1),)
    tree, broken = documents[0].tree, documents[0].faults
    if tree is None or broken:
        return None, broken
    fields = tree.value if isinstance(tree.value, Mapping) else {}
    kind, version = fields.get("kind"), fields.get("apiVersion")
    if kind is None or kind.value != KIND:
        return None, (Fault(("kind",), f"this is no {KIND}: write `kind: {KIND}`", line=tree.line),)
    if version is None or version.value not in VERSIONS:
        return None, (Fault(("apiVersion",), f"write `apiVersion: {VERSIONS[0]}`", line=tree.line),)
    written, faults = decode(tree, WrittenPickerConfig, (), _BESIDE)
    faults = faults or (*picker_config(Meta(""), written), *(() if local else _foreign(written)))
    placed = tuple(Fault(f.path, f.message, f.severity, line_of(tree, f.path)) for f in faults)
    wrong = any(fault.severity == "error" for fault in faults)
    return None if wrong else picking(written), placed


def _foreign(written: WrittenPickerConfig) -> Iterator[Fault]:
    for i, plugin in enumerate(written.plugins):
        if plugin.type == PYTHON:
            message = "it is taken from no ConfigMap: write the EndpointPickerConfig in a file of its own"
            yield Fault(("plugins", i, "type"), message)


def inside(fault: Fault, key: str) -> Fault:
    """The same as a fault of the ConfigMap."""
    place = dotted(fault.path)
    return Fault(("data", key), f"line {fault.line}: {place + ': ' if place else ''}{fault.message}", fault.severity)
