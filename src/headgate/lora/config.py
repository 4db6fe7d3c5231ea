"""The syncer's configuration: `vLLMLoRAConfig`, as the dynamic LoRA sidecar of the inference extension reads it.

Field names and defaults are the sidecar's (GIE v1.4.0, tools/dynamic-lora-sidecar), so its ConfigMaps work unchanged.
"""

from difflib import get_close_matches
from typing import Any

import yaml
from msgspec import Struct
from yaml.constructor import SafeConstructor

from headgate.api.meta import Problem, Where


class Adapter(Struct, frozen=True):
    """A LoRA adapter that should be there. `source` is what vLLM calls `lora_path`: a directory or a repository id."""

    id: str
    source: str
    base: str = ""  # the model it was made for; "" when neither the entry nor `defaultBaseModel` says


class Desired(Struct, frozen=True):
    """What the configuration asks for. Adapters in neither list are nobody's business."""

    host: str = "localhost"
    port: int = 8000
    name: str = ""
    exist: tuple[Adapter, ...] = ()
    absent: tuple[str, ...] = ()


_ROOT = "vLLMLoRAConfig"
_LISTS = ("ensureExist", "ensureNotExist")
_KEYS = ("host", "port", "name", "defaultBaseModel", *_LISTS)
_ENTRY_KEYS = ("id", "source", "base-model")
_EXAMPLE = f"{_ROOT}: {{ensureExist: {{models: [{{id: my-adapter, source: org/repository}}]}}}}"

# What people write who come from elsewhere, and what it is called here.
_MEANT = {
    "toRemove": "ensureNotExist",
    "baseModel": "base-model",
    "base_model": "base-model",
    "path": "source",
    "models": "ensureExist",
}


def read(text: str | bytes, file: str = "") -> tuple[Desired | None, tuple[Problem, ...]]:
    """What `text` (YAML) asks for, and every mistake in it at once.

    An entry with an error is left out of the result, which is None where nothing can be read at all. Whether a result
    that comes with errors should be used is the caller's choice.
    """
    reader = _Reader(file)
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        reader.report_yaml(error)
        return None, tuple(reader.problems)
    except RecursionError:
        reader.say(1, "", "is nested too deeply to be read")
        return None, tuple(reader.problems)
    desired = _desired(reader, document)
    return desired, tuple(sorted(reader.problems, key=lambda problem: problem.where.line))


def _desired(reader: "_Reader", document: yaml.Node | None) -> Desired | None:
    if document is None or _is_null(document):
        reader.say(1, "", f"is empty, so no adapter is managed; write {_EXAMPLE}", "warning")
        return Desired()
    top = reader.mapping(document, "", (_ROOT,))
    if top is None:
        return None
    if _ROOT not in top:
        reader.say(_line(document), _ROOT, f"is missing; write {_EXAMPLE}")
        return None
    fields = reader.mapping(top[_ROOT], _ROOT, _KEYS)
    if fields is None:
        return None
    default_base = reader.text(fields, "defaultBaseModel", _ROOT)
    exist = [
        (line, Adapter(entry["id"], entry["source"], entry["base-model"] or default_base))
        for line, entry in reader.entries(fields, "ensureExist", ("id", "source"))
    ]
    absent = [(line, entry["id"]) for line, entry in reader.entries(fields, "ensureNotExist", ("id",))]
    both = {adapter.id for _, adapter in exist} & {name for _, name in absent}
    for line, name in absent:
        if name in both:
            message = f"'{name}' is in ensureExist too, so it is left as it is; take it out of one of the two lists"
            reader.say(line, f"{_ROOT}.ensureNotExist", message, "warning")
    return Desired(
        reader.text(fields, "host", _ROOT) or "localhost",
        reader.port(fields),
        reader.text(fields, "name", _ROOT),
        tuple(adapter for _, adapter in exist if adapter.id not in both),
        tuple(name for _, name in absent if name not in both),
    )


class _Reader:
    """Walks YAML nodes, which know their lines, and collects what is wrong with them."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def say(self, line: int, field: str, message: str, severity: Any = "error") -> None:
        self.problems.append(Problem(Where(self.file, line), field, message, severity))

    def report_yaml(self, error: yaml.YAMLError) -> None:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        if isinstance(error, yaml.composer.ComposerError) and "single document" in str(error.context):
            self.say(line, "", f"is a second document; write {_ROOT} alone: this is the value of a ConfigMap's key")
            return
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "can't be read"
        self.say(line, "", f"is not YAML: {what}")

    def mapping(self, node: yaml.Node, field: str, known: tuple[str, ...]) -> dict[str, yaml.Node] | None:
        """The members of a mapping by key; None where it is no mapping. Unknown keys are warned about and left out."""
        if not isinstance(node, yaml.MappingNode):
            self.say(_line(node), field, f"must be a mapping with {_or(known)}, not {_kind(node)}")
            return None
        try:
            SafeConstructor().flatten_mapping(node)  # merge keys: `<<: *defaults`
        except yaml.YAMLError as error:
            self.report_yaml(error)
            return None
        members: dict[str, yaml.Node] = {}
        own: set[str] = set()
        for key_node, value in node.value:  # what was merged comes first, and gives way to what is written here
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            place = f"{field}.{key}" if field else key
            if key not in known:
                self.say(_line(key_node), place, f"is not known and has no effect; {_hint(key, known)}", "warning")
            elif key in own:
                self.say(_line(key_node), place, "is written twice; keep one")
            else:
                members[key] = value
                if node.start_mark.index <= key_node.start_mark.index < node.end_mark.index:
                    own.add(key)
        return members

    def text(self, members: dict[str, yaml.Node], key: str, field: str, required: bool = False) -> str:
        """A string, "" where it is not written; a mistake is reported and reads as ""."""
        node = members.get(key)
        if node is None or _is_null(node):
            return ""
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str"):
            if required and not node.value.strip():
                self.say(_line(node), f"{field}.{key}", "is empty")
            return str(node.value).strip()
        written = f'; write "{node.value}"' if isinstance(node, yaml.ScalarNode) else ""
        self.say(_line(node), f"{field}.{key}", f"must be a string, not {_kind(node)}{written}")
        return ""

    def port(self, members: dict[str, yaml.Node]) -> int:
        node = members.get("port")
        if node is None or _is_null(node):
            return 8000
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int"):
            try:
                number = int(SafeConstructor().construct_yaml_int(node))
            except ValueError:  # YAML lets `0b_` pass for a number
                number = 0
            if 1 <= number <= 65535:
                return number
        self.say(_line(node), f"{_ROOT}.port", "must be a port number from 1 to 65535, without quotes: write 8000")
        return 8000

    def entries(
        self, members: dict[str, yaml.Node], key: str, required: tuple[str, ...]
    ) -> list[tuple[int, dict[str, str]]]:
        """The sound entries of `ensureExist` or `ensureNotExist` with their lines; of those with one id the first."""
        node = members.get(key)
        field = f"{_ROOT}.{key}"
        outer = None if node is None or _is_null(node) else self.mapping(node, field, ("models",))
        models = (outer or {}).get("models")
        if models is None or _is_null(models):
            return []
        if not isinstance(models, yaml.SequenceNode):
            message = f"must be a list, not {_kind(models)}; write `- id: my-adapter` below it"
            self.say(_line(models), f"{field}.models", message)
            return []
        found: dict[str, tuple[int, dict[str, str]]] = {}
        for index, item in enumerate(models.value):
            place = f"{field}.models[{index}]"
            entry = self._entry(item, place, required)
            if entry is None:
                continue
            before = found.setdefault(entry["id"], (_line(item), entry))
            if before[1] is not entry:
                same = before[1] == entry
                message = f"'{entry['id']}' is listed on line {before[0]} already; keep one"
                self.say(_line(item), f"{place}.id", message, "warning" if same else "error")
        return list(found.values())

    def _entry(self, node: yaml.Node, place: str, required: tuple[str, ...]) -> dict[str, str] | None:
        before = len(self.problems)
        members = self.mapping(node, place, _ENTRY_KEYS)
        if members is None:
            return None
        for key in required:
            if key not in members or _is_null(members[key]):
                example = "my-adapter" if key == "id" else "org/repository or a directory"
                self.say(_line(node), f"{place}.{key}", f"is missing; write `{key}: {example}`")
        entry = {key: self.text(members, key, place, key in required) for key in _ENTRY_KEYS}
        return None if any(problem.severity == "error" for problem in self.problems[before:]) else entry


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    names = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing", "timestamp": "a date"}
    return names.get(node.tag.rpartition(":")[2], "text")


def _hint(key: str, known: tuple[str, ...]) -> str:
    near = [_MEANT[key]] if _MEANT.get(key) in known else get_close_matches(key, known, 1)
    return f"write {near[0]}" if near else f"known here: {_or(known)}"


def _or(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
