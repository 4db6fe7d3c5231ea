"""Prometheus' text exposition format, version 0.0.4, written."""

Labels = tuple[tuple[str, str], ...]


class Page:
    """Families in the order in which they come; all samples of one follow its head."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str) -> None:
        """`kind`: counter, gauge or histogram. `text` is one line without backslashes."""
        self._lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")

    def sample(self, name: str, labels: Labels, value: float) -> None:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
        self._lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")

    def one(self, name: str, kind: str, text: str, value: float, labels: Labels = ()) -> None:
        """A family of one sample."""
        self.family(name, kind, text)
        self.sample(name, labels, value)

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
