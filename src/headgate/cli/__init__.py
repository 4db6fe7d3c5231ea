"""The `headgate` command: who is wired to whom."""

import difflib
import os
import sys
from collections.abc import Sequence

_INTERNAL = 70  # EX_SOFTWARE of sysexits.h


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. 2 is for a command line that can't be understood."""
    given = list(sys.argv[1:] if argv is None else argv)
    # These are servers of their own, with flags of others: they read them themselves, and start fast.
    if given[:1] == ["sim"]:
        from headgate.runtime.simulator import main as simulate

        return simulate(given[1:])
    if given[:1] == ["lora-syncer"]:
        from headgate.runtime.syncer import main as sync

        return sync(given[1:])
    if given[:1] == ["epp"]:
        from headgate.cli.epp import main as pick

        return pick(given[1:])
    if given[:1] == ["bbr"]:
        from headgate.cli.bbr import main as route

        return route(given[1:])
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a terminal that knows no → shall not stop us
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        status = _run(given)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read us has enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if "HEADGATE_DEBUG" in os.environ:
            raise
        what = f"a mistake of Headgate's own: {type(error).__name__}: {error}"
        print(f"headgate: {what}. Please report it, with what HEADGATE_DEBUG=1 shows", file=sys.stderr)
        return _INTERNAL
    return status


def _run(given: Sequence[str]) -> int:
    from headgate.cli.arguments import parser

    top = parser()
    if not given:
        top.print_help()
        return 2
    arguments, strange = top.parse_known_args(given)
    if strange:
        near = difflib.get_close_matches(strange[0], arguments.parser._option_string_actions, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        arguments.parser.error(f"{strange[0]} is not known{hint}")
    status: int = arguments.run(arguments)
    return status
