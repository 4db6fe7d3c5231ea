"""Policies in Python: their files found, read and followed, and the functions in them."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic, perf_counter
from types import ModuleType
from typing import Any, cast
from weakref import WeakValueDictionary

from msgspec import convert
from msgspec.structs import replace
from xxhash import xxh3_64_hexdigest

from headgate.api import Problem, Snapshot, Where
from headgate.api.formats import seconds
from headgate.api.picker import Code, PickerConfig, Picking, Plugin
from headgate.api.written.plugins import PYTHON, Python
from headgate.pick.python import Functions, wrong_score, wrong_verdict
from headgate.runtime.alarm import Alarm, Overrun
from headgate.runtime.exposition import Page
from headgate.runtime.outline import Misfit, examine
from headgate.runtime.policy import Policy, line_of

_LOAD_S = 5.0
_LARGEST = 1 << 20
_SIGNATURE = "(ask, endpoint, now)"


class Unfit(Exception):
    """A policy can't be used: where, and why, for people."""

    def __init__(self, where: Where, why: str) -> None:
        super().__init__(why)
        self.where = where


class Policies:
    """Of one process. `say` hears of policies that fail. Without `run` code is read, and nothing of it runs. By the
    `timer` they are held to their budgets.
    """

    def __init__(
        self, say: Callable[[str], None], *, run: bool = True, timer: Callable[[], float] = perf_counter
    ) -> None:
        self._say = say
        self._run = run
        self._timer = timer
        self._alarm = Alarm()
        self._modules: dict[str, tuple[Code, ModuleType]] = {}  # by file
        self._good: dict[str, Code] = {}  # by file: what could be used last
        self._policies: WeakValueDictionary[tuple[object, ...], Policy] = WeakValueDictionary()

    # Reading.

    def attached(self, snapshot: Snapshot) -> tuple[Snapshot, tuple[Problem, ...], tuple[str, ...]]:
        """With the code of all policies; what is wrong with that; and the files to follow.

        Code that is wrong stays as it was before; a configuration whose code was never right is left out.
        """
        problems: list[Problem] = []
        configs: list[PickerConfig] = []
        files: list[str] = []
        for config in snapshot.picker_configs:
            picking, wrong, named = self.attach(config.picking, _directory(config.meta.where.file), config.meta.where)
            problems += [
                replace(one, object=one.object or f"EndpointPickerConfig {config.meta.name}".strip()) for one in wrong
            ]
            files += named
            if picking is not None:
                configs.append(replace(config, picking=picking))
        if tuple(configs) != snapshot.picker_configs:
            snapshot = replace(snapshot, picker_configs=tuple(configs))
        return snapshot, tuple(problems), tuple(files)

    def attach(
        self, picking: Picking, directory: Path, where: Where
    ) -> tuple[Picking | None, tuple[Problem, ...], tuple[str, ...]]:
        """The same for one, whose modules are found from `directory`; None where its code can't be used."""
        problems: list[Problem] = []
        files: list[str] = []
        found: dict[str, list[Plugin]] = {"filters": [], "scorers": []}
        usable = True
        for role, plugins in found.items():
            for plugin in getattr(picking, role):
                if plugin.type == PYTHON:
                    code = None
                    try:
                        module = _shape(plugin).module
                        if not self._run and not _is_path(module):  # to find it, its package would have to be run
                            plugins.append(plugin)
                            continue
                        file, package = _find(module, directory, where)
                        files.append(file)
                        code = self._usable(plugin, file, package, where, problems)
                    except Unfit as error:
                        problems.append(Problem(error.where, "", f"policy {plugin.called}: {error}"))
                    usable = usable and code is not None
                    plugin = replace(plugin, code=code)
                plugins.append(plugin)
        made = replace(picking, filters=tuple(found["filters"]), scorers=tuple(found["scorers"]))
        return made if usable else None, tuple(problems), tuple(files)

    def _usable(self, plugin: Plugin, file: str, package: str, where: Where, problems: list[Problem]) -> Code | None:
        """The code as it is in the file, else as it was when it could be used last."""
        try:
            code = Code(file, _text(file, where), package)
            if self._run:
                self._function(code, _shape(plugin), where)
            else:
                _examine(code, _shape(plugin), where)
        except Unfit as error:
            before = self._good.get(file)
            kept = "; what it was before stays in force" if before is not None else ""
            problems.append(Problem(error.where, "", f"policy {plugin.called}: {error}{kept}"))
            return before
        self._good[file] = code
        return code

    def _function(self, code: Code, shape: Python, where: Where) -> Callable[..., Any]:
        """Raises Unfit."""
        module = self._module(code)
        function = getattr(module, shape.called, None)
        if function is None:
            there = ", ".join(_functions(module)) or "none"
            raise Unfit(where, f"{code.file} has no function {shape.called} (there is {there}): write "
                               f"`def {shape.called}{_SIGNATURE}` there, or `function:` here")  # fmt: skip
        line = getattr(getattr(function, "__code__", None), "co_firstlineno", 1)
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise Unfit(Where(code.file, line), f"{shape.called} is no plain function: write "
                                                f"`def {shape.called}{_SIGNATURE}`")  # fmt: skip
        try:
            inspect.signature(function).bind(None, None, None)
        except TypeError as error:
            told = f"{shape.called} can't be called with three arguments ({error})"
            raise Unfit(Where(code.file, line), f"{told}: write `def {shape.called}{_SIGNATURE}`") from None
        except ValueError:  # one in C, which tells nothing of itself
            pass
        return function  # type: ignore[no-any-return]

    def _module(self, code: Code) -> ModuleType:
        """The same for all functions of the same text. Raises Unfit."""
        known = self._modules.get(code.file)
        if known is not None and known[0] == code:
            return known[1]
        module = ModuleType(f"headgate_policy_{xxh3_64_hexdigest((code.file + code.text).encode())}")
        module.__file__, module.__package__ = code.file, code.package
        sys.modules[module.__name__] = module  # dataclasses look there for what annotations mean
        try:
            compiled = compile(code.text, code.file, "exec", dont_inherit=True)
            self._alarm.call(_LOAD_S, exec, compiled, module.__dict__)
        except BaseException as error:
            del sys.modules[module.__name__]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _unloadable(error, code.file) from None
        if known is not None:
            sys.modules.pop(known[1].__name__, None)
        self._modules[code.file] = code, module
        return module

    # Asking.

    def functions(self, clock: Callable[[], float] = monotonic) -> Functions:
        """For `configure`. The same policy is one wherever it is asked, live and in the shadow."""

        def function(plugin: Plugin) -> Policy:
            key = (plugin.called, plugin.code, tuple(sorted(plugin.parameters.items())), clock)
            known = self._policies.get(key)
            if known is None:
                known = self._policies[key] = self._made(plugin, clock)
            return known

        return function

    def _made(self, plugin: Plugin, clock: Callable[[], float]) -> Policy:
        code, shape = plugin.code, _shape(plugin)
        assert code is not None, f"{plugin.called}: nobody has read its code"
        wrong = wrong_score if shape.kind == "scorer" else wrong_verdict
        budget = seconds(shape.time_budget)
        function, off = cast("Callable[..., Any]", wrong), ""
        try:
            function = self._function(code, shape, Where(code.file))
        except Unfit as error:  # it could be loaded where the files were read
            off = f"switched off: {error}"
            self._say(f"Policy {plugin.called} ({error.where}) is {off}")
        return Policy(
            plugin.called, code.file, function, wrong, budget, self._alarm, clock, self._say, off, self._timer
        )

    def describe(self, page: Page) -> None:
        """Nothing where there are none."""
        found: dict[str, list[Policy]] = {}
        for policy in list(self._policies.values()):
            found.setdefault(policy.name, []).append(policy)
        if found:
            describe(dict(sorted(found.items())), page)


def describe(found: Mapping[str, list[Policy]], page: Page) -> None:
    name = "headgate_policy_calls_total"
    page.family(name, "counter", "Times that a policy in Python was asked, about all endpoints of a choice together.")
    for policy, those in found.items():
        page.sample(name, (("policy", policy),), sum(one.calls for one in those))
    name = "headgate_policy_faults_total"
    page.family(name, "counter", "Times that it was skipped: it raised, gave a wrong answer, was slow, was stopped.")
    for policy, those in found.items():
        for reason in those[0].faults:
            count = sum(one.faults[reason] for one in those)
            page.sample(name, (("policy", policy), ("reason", reason)), count)
    name = "headgate_policy_seconds_total"
    page.family(name, "counter", "Time that it took of the event loop.")
    for policy, those in found.items():
        page.sample(name, (("policy", policy),), round(sum(one.seconds for one in those), 6))
    name = "headgate_policy_switched_off"
    page.family(name, "gauge", "In how many processes it is switched off, for failing again and again.")
    for policy, those in found.items():
        page.sample(name, (("policy", policy),), int(any(one.off for one in those)))


def _shape(plugin: Plugin) -> Python:
    return convert(dict(plugin.parameters), Python)


def _directory(file: str) -> Path:
    """From where paths in it are meant: its own, or where headgate was started for what is no file."""
    return Path(file).absolute().parent if Path(file).is_file() else Path.cwd()


def _find(module: str, directory: Path, where: Where) -> tuple[str, str]:
    """A path from there, or a dotted name as Python imports it: the file and its package. Raises Unfit."""
    if _is_path(module):
        return str((directory / module).resolve()), ""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise Unfit(where, f"the module {module} can't be found ({error}): write a path such as ./my_policy.py, or "
                           "install it where headgate is") from None  # fmt: skip
    except Exception as error:  # importing its package has run that
        raise Unfit(where, f"the package of {module} can't be imported: {type(error).__name__}: {error}") from None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise Unfit(where, f"there is no module {module} in a file of Python: write a path such as ./my_policy.py, or "
                           "install it where headgate is")  # fmt: skip
    return spec.origin, spec.parent or ""


def _is_path(module: str) -> bool:
    return "/" in module or module.endswith(".py")


def _examine(code: Code, shape: Python, where: Where) -> None:
    """Raises Unfit."""
    try:
        examine(code.text, code.file, shape.called, _SIGNATURE)
    except (SyntaxError, ValueError) as error:
        raise _unloadable(error, code.file) from None
    except Misfit as error:
        if error.line:
            raise Unfit(Where(code.file, error.line), str(error)) from None
        raise Unfit(where, f"{code.file} {error}") from None


def _text(file: str, where: Where) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise Unfit(where, f"{file} is larger than {_LARGEST >> 20} MiB: is it Python?")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unfit(Where(file), f"byte {error.start} is not UTF-8: save the file as UTF-8") from None
    except OSError as error:
        raise Unfit(where, f"{file} can't be read: {error.strerror or error}") from None


def _unloadable(error: BaseException, file: str) -> Unfit:
    if isinstance(error, SyntaxError) and error.filename == file:
        return Unfit(Where(file, error.lineno or 0), f"it is no Python: {error.msg}")
    line = line_of(error.__traceback__, file)
    if isinstance(error, Overrun):
        return Unfit(Where(file, line), f"it could not be loaded within {_LOAD_S:g} s")
    return Unfit(Where(file, line), f"it can't be loaded: {type(error).__name__}: {error}")


def _functions(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield name
