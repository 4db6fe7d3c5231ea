"""How far long work has come: a line that is written over."""

import sys
from collections.abc import Callable
from time import monotonic

_SHOW_EACH_S = 0.2


def progress(what: str, of: int, unit: str) -> Callable[[int], None]:
    """Called with how much is done; it shows where somebody looks, and else nothing."""
    if not sys.stderr.isatty():
        return lambda done: None
    shown_at = 0.0

    def show(done: int) -> None:
        nonlocal shown_at
        now = monotonic()
        if done == of:
            sys.stderr.write("\r\x1b[K")
        elif now - shown_at > _SHOW_EACH_S:
            shown_at = now
            sys.stderr.write(f"\r\x1b[K{what}: {done:,} of {of:,} {unit}")
        else:
            return
        sys.stderr.flush()

    return show
