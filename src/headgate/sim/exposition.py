"""Metric values and the Prometheus text of them. A scrape is frequent, so all that can be text beforehand is."""

from bisect import bisect_left
from collections.abc import Collection, Mapping

from headgate.sim.families import Family


class Sample:
    """A counter's or gauge's value with one set of labels."""

    __slots__ = ("_created", "_name", "value")

    def __init__(self, family: Family, labels: Mapping[str, str], created: float) -> None:
        self.value = 0.0
        self._name = family.name + label_text(labels) + " "
        self._created = base(family) + "_created" + label_text(labels) + f" {number(created)}"

    def lines(self) -> list[str]:
        return [self._name + number(self.value)]

    def created(self) -> str:
        return self._created


class Histogram:
    """A histogram with one set of labels. Without bounds it is a summary: a count and a sum."""

    __slots__ = ("_bounds", "_counts", "_created", "_heads", "_tail", "count", "sum")

    def __init__(self, family: Family, labels: Mapping[str, str], created: float) -> None:
        self.count = 0
        self.sum = 0.0
        self._bounds = family.buckets
        self._counts = [0] * (len(family.buckets) + 1)
        name = family.name
        self._heads = []
        if family.kind == "histogram":
            edges = [*(number(bound) for bound in family.buckets), "+Inf"]
            self._heads = [f"{name}_bucket{label_text({**labels, 'le': edge})} " for edge in edges]
        self._tail = (f"{name}_count{label_text(labels)} ", f"{name}_sum{label_text(labels)} ")
        self._created = f"{name}_created{label_text(labels)} {number(created)}"

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, as often as it occurred."""
        self.count += times
        self.sum += value * times
        self._counts[bisect_left(self._bounds, value)] += times

    def lines(self) -> list[str]:
        below = 0
        lines = []
        for head, count in zip(self._heads, self._counts, strict=False):
            below += count
            lines.append(f"{head}{below}.0")
        lines.append(f"{self._tail[0]}{self.count}.0")
        lines.append(self._tail[1] + number(self.sum))
        return lines

    def created(self) -> str:
        return self._created


class Metric:
    """A family with its children, by labels; a child comes into being when it is first asked for."""

    def __init__(self, family: Family, **common: str) -> None:
        self.family = family
        self._common = common
        self._children: dict[tuple[str, ...], Sample | Histogram] = {}

    def sample(self, now: float, **labels: str) -> Sample:
        """The child with these labels; `now` is the unix time at which it begins to exist."""
        key = tuple(labels.values())
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = Sample(self.family, {**self._common, **labels}, now)
        if not isinstance(child, Sample):
            raise TypeError(f"{self.family.name} is a {self.family.kind}")
        return child

    def histogram(self, now: float, **labels: str) -> Histogram:
        """The same for histograms and summaries."""
        key = tuple(labels.values())
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = Histogram(self.family, {**self._common, **labels}, now)
        if not isinstance(child, Histogram):
            raise TypeError(f"{self.family.name} is a {self.family.kind}")
        return child

    def lines(self) -> list[str]:
        """The text of the family, its `_created` companion included; nothing when it has no children."""
        if not self._children:
            return []
        family = self.family
        lines = [f"# HELP {family.name} {escape(family.help)}", f"# TYPE {family.name} {family.kind}"]
        for child in self._children.values():
            lines += child.lines()
        if family.created:
            name = base(family) + "_created"
            lines += [f"# HELP {name} {escape(family.help)}", f"# TYPE {name} gauge"]
            lines += [child.created() for child in self._children.values()]
        return lines


def only(page: str, names: Collection[str]) -> str:
    """Of a page the samples of these names, with what is said about them."""
    kept: list[str] = []
    about: list[str] = []
    for line in page.splitlines(keepends=True):
        if line.startswith("# HELP "):
            about = [line]
        elif line.startswith("#"):
            about.append(line)
        elif line.partition(" ")[0].partition("{")[0] in names:
            kept += [*about, line]
            about = []
    return "".join(kept)


def base(family: Family) -> str:
    """A family's name without the `_total` of counters."""
    return family.name.removesuffix("_total") if family.kind == "counter" else family.name


def label_text(labels: Mapping[str, str]) -> str:
    """`{a="1",b="2"}`, names in order; nothing for no labels."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_quoted(value)}"' for name, value in sorted(labels.items())) + "}"


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def escape(text: str) -> str:
    """A help text on one line."""
    return text.replace("\\", r"\\").replace("\n", r"\n")


def number(value: float) -> str:
    """A float as the Prometheus clients write it: Go's way, with an exponent from a million up."""
    text = repr(float(value))
    point = text.find(".")
    if value > 0 and point > 6:
        digits = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0.")
        return f"{digits}e+{point - 1:02d}"
    return text
