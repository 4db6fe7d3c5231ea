"""Processes of a run: started in sessions of their own, accounted as whole trees, and never left behind."""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent
_TICK = os.sysconf("SC_CLK_TCK")
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_PLENTY = 1 << 20
_GRACE_S = 2.0  # some routers take half a minute to let traffic go elsewhere: there is none


class Failed(Exception):
    """A program that the run needs did not do its part. The text is for people."""


class Usage(Struct, frozen=True):
    """What a process tree has used: CPU seconds since it started, and the sums of its processes' RSS in MB."""

    cpu_s: float = 0.0
    rss_mb: float = 0.0  # now
    peak_rss_mb: float = 0.0


@contextlib.contextmanager
def running(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, *, talks: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """The program while it runs, what it prints in `log`; stopped by its process group whatever happens inside.

    One that `talks` has its standard input and output in pipes, for the caller.
    """
    prctl = ctypes.CDLL(None).prctl

    def die_with_us() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    with log.open("wb") as errors:
        # An interrupt in the middle of a start would leave a process that nobody knows: it waits until somebody does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else errors,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
                start_new_session=True,
                preexec_fn=die_with_us,  # noqa: PLW1509 - this program has one thread
            )
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise Failed(f"{argv[0]}: {error.strerror}") from None
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        _signal_group(process.pid, signal.SIGTERM)
        process.wait(_GRACE_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)  # also what the leader left behind in its group
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def usage(pid: int) -> Usage:
    """What the tree under `pid` has used until now; a child that has ended counts once its parent waited for it."""
    cpu, now, peak = 0, 0, 0
    for member in _tree(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            status = dict(line.split(":", 1) for line in Path(f"/proc/{member}/status").read_text().splitlines())
        except OSError:
            continue  # ended between the two looks: its parent has its time now
        cpu += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime
        now += int(status.get("VmRSS", "0").split()[0])
        peak += int(status.get("VmHWM", "0").split()[0])
    return Usage(cpu / _TICK, now / 1024, peak / 1024)


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def most_files() -> int:
    """How many files a process may have open: the soft limit is raised to the hard one, for children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = _PLENTY
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error message."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:])
