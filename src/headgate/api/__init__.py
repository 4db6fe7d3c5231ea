"""What did the user write?  `load`: YAML or JSON texts → Snapshot and Problems."""

from headgate.api.load import load
from headgate.api.meta import Meta, Problem, Where
from headgate.api.snapshot import Snapshot
from headgate.api.texts import Text

__all__ = ["Meta", "Problem", "Snapshot", "Text", "Where", "load"]
