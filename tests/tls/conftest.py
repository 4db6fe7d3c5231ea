"""A real `headgate up` is shared with the tests of the whole system."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))
