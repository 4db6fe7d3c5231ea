"""Is a container well? One question at a time (`ask`), and when the answers count (`Streak`, `verdicts`).

Source: the Probe of the core/v1 API, and kubelet's prober. Three deviations: the first success is looked for every
100 ms (except by exec, which costs a process); it is looked for during initialDelaySeconds too, when only failures do
not count; and a grpc probe only opens the connection.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from msgspec import Struct

from headgate.api.workload import HttpGet, Probe

_LOCAL = ("", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::")
_EAGER_STEP = 0.1  # seconds between questions until the first success
_EAGER_FOR = 120.0  # seconds; a server that takes longer to start is in no hurry

Command = Callable[[tuple[str, ...]], Awaitable[int]]


class Target(Struct, frozen=True):
    """Whom a probe asks: an address, its ports by name, and how a command is run in the container."""

    address: str
    ports: Mapping[str, int]
    run: Command | None = None
    port: int | None = None  # the only port there is, whatever a probe names
    mapped: Mapping[int, int] = {}  # ports that others stand for here


async def ask(probe: Probe, target: Target) -> str:
    """One question: "" when all is well, else what is wrong, for people."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.http_get is not None:
                return await http_get(probe.http_get, target)
            if probe.exec is not None:
                if target.run is None:
                    return "an exec probe needs a container on this machine"
                code = await target.run(probe.exec.command)
                return "" if code == 0 else f"{probe.exec.command[0]} exited with {code}"
            if probe.tcp_socket is not None:
                return await _connect(probe.tcp_socket.host, probe.tcp_socket.port, target)
            if probe.grpc is not None:
                return await _connect("", probe.grpc.port, target)
            return ""
    except TimeoutError:
        return f"no answer within {probe.timeout_seconds} s"


async def http_get(wanted: HttpGet, target: Target) -> str:
    """GET over a fresh connection, as kubelet's: "" for any status from 200 to 399. HTTPS takes any certificate."""
    port = _port(wanted.port, target)
    if port is None:
        return f"no port is called {wanted.port!r}"
    host = target.address if wanted.host in _LOCAL else wanted.host
    place = f"http://{host}:{port}{wanted.path}"
    headers = {"host": f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "user-agent": "headgate-probe"}
    headers |= {header.name.lower(): header.value for header in wanted.http_headers}
    lines = [f"GET {wanted.path or '/'} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), "connection: close"]
    secure: ssl.SSLContext | None = None
    if wanted.scheme == "HTTPS":
        secure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        secure.check_hostname = False
        secure.verify_mode = ssl.CERT_NONE
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=secure)
    except (OSError, UnicodeError) as error:
        return f"{place}: {_reason(error)}"
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        status = await reader.readline()
    except (OSError, ValueError) as error:
        return f"{place}: {_reason(error)}"
    finally:
        writer.transport.abort()
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f"{place}: not an HTTP answer"
    return "" if 200 <= int(words[1]) < 400 else f"{place}: status {int(words[1])}"


class Streak(Struct, frozen=True):
    """How many answers of one kind came in a row, and what that makes of the verdict (None: nothing yet)."""

    well: bool | None = None
    last: bool | None = None
    run: int = 0

    def then(self, good: bool, probe: Probe) -> "Streak":
        """After one more answer: the verdict changes at successThreshold or failureThreshold answers in a row."""
        run = self.run + 1 if good == self.last else 1
        enough = run >= (probe.success_threshold if good else probe.failure_threshold)
        return Streak(good if enough else self.well, good, run)


async def verdicts(probe: Probe, target: Target, *, eager: bool) -> AsyncIterator[tuple[bool, str]]:
    """Ask for ever: every change of the verdict, and each failure that upholds a bad one, with what is wrong.

    `eager` (startup, readiness): it asks from the first moment on, until the first success every 100 ms where asking is
    cheap. A success counts at once, a failure only after initialDelaySeconds: that was written for how long a model
    takes to load somewhere else. Otherwise (liveness) it first asks after that delay, or a period: what a process says
    in its first millisecond is no reason to end it.
    """
    loop = asyncio.get_running_loop()
    if not eager:
        await asyncio.sleep(probe.initial_delay_seconds or probe.period_seconds)
    begun = loop.time()
    counted = begun + (probe.initial_delay_seconds if eager else 0)  # failures count from here on
    streak = Streak()
    quick = eager and probe.exec is None
    while True:
        problem = await ask(probe, target)
        now = loop.time()
        good = not problem
        # While it starts, failures count once a period however often it was asked: thresholds mean what they say.
        if good or now - counted >= (probe.period_seconds if quick else 0):
            before, streak, counted = streak, streak.then(good, probe), now
            if streak.well is not None and (streak.well != before.well or not streak.well):
                yield streak.well, problem
        quick = quick and not good and now - begun < _EAGER_FOR
        await asyncio.sleep(_EAGER_STEP if quick else probe.period_seconds)


async def accepts(ports: tuple[int, ...], address: str) -> None:
    """Return when one of the ports accepts connections."""
    while True:
        for port in ports:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(address, port)
                writer.transport.abort()
                return
        await asyncio.sleep(_EAGER_STEP)


async def _connect(host: str, written: int | str, target: Target) -> str:
    port = _port(written, target)
    if port is None:
        return f"no port is called {written!r}"
    host = target.address if host in _LOCAL else host
    try:
        _, writer = await asyncio.open_connection(host, port)
    except (OSError, UnicodeError) as error:
        return f"{host}:{port}: {_reason(error)}"
    writer.transport.abort()
    return ""


def _port(written: int | str, target: Target) -> int | None:
    if target.port is not None:
        return target.port
    port = target.ports.get(written) if isinstance(written, str) else None
    port = port or (int(written) if str(written).isdecimal() else 0)
    return target.mapped.get(port, port) if 0 < port < 65536 else None


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
