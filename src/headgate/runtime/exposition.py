"""Prometheus' text exposition format, version 0.0.4, written; pages of several processes become one."""

from collections.abc import Iterable
from operator import add

from msgspec import Struct
from msgspec.structs import replace

Labels = tuple[tuple[str, str], ...]


class Family(Struct):
    """`samples` is by series, as it is written. `alike`: it says the same in all processes; `peak`: the highest counts;
    else samples add up.
    """

    name: str
    kind: str  # counter, gauge or histogram
    text: str  # one line without backslashes
    alike: bool = False
    peak: bool = False
    samples: dict[str, int | float] = {}


class Page:
    """Families in the order in which they come; all samples of one follow its head."""

    def __init__(self, families: Iterable[Family] = ()) -> None:
        self._families = {family.name: family for family in families}
        self._samples: dict[str, int | float] = {}

    @property
    def families(self) -> list[Family]:
        return list(self._families.values())

    def family(self, name: str, kind: str, text: str, *, alike: bool = False, peak: bool = False) -> None:
        family = self._families[name] = Family(name, kind, text, alike, peak, {})
        self._samples = family.samples

    def sample(self, name: str, labels: Labels, value: float) -> None:
        """Of the family that was begun last."""
        self.series(name, labelled(labels), value)

    def series(self, name: str, inside: str, value: float) -> None:
        """The same with labels that are written already: pages may have tens of thousands of samples."""
        self._samples[f"{name}{{{inside}}}" if inside else name] = value

    def one(
        self,
        name: str,
        kind: str,
        text: str,
        value: float,
        labels: Labels = (),
        *,
        alike: bool = False,
        peak: bool = False,
    ) -> None:
        """A family of one sample."""
        self.family(name, kind, text, alike=alike, peak=peak)
        self.sample(name, labels, value)

    def add(self, families: Iterable[Family]) -> None:
        """What another process tells."""
        for other in families:
            family = self._families.get(other.name)
            if family is None:
                family = self._families[other.name] = replace(other, samples={})
            samples = family.samples
            join = _first if family.alike else max if family.peak else add
            for key, value in other.samples.items():
                before = samples.get(key)
                samples[key] = value if before is None else join(before, value)

    def text(self) -> str:
        lines: list[str] = []
        for family in self._families.values():
            lines += (f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}")
            lines += [f"{series} {value}" for series, value in family.samples.items()]
        return "\n".join(lines) + "\n"


def _first(before: float, _: float) -> float:
    return before


def labelled(labels: Labels) -> str:
    """Labels as they stand between the braces."""
    return ",".join([f'{key}="{_escape(text)}"' for key, text in labels])


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
