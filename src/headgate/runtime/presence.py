"""How a running headgate is found: by other commands, by Prometheus, and by the one that comes after it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from headgate.runtime.admin import Admin
from headgate.runtime.instance import admin_socket, reachable, sign
from headgate.runtime.server import Server, serve
from headgate.runtime.sockets import Binding, why_not
from headgate.runtime.takeover import LISTENER, LOCK, METRICS, Gift, Handover, Inherited


class Presence:
    """`lock` is what makes the instance ours; `leave` is called when another one has taken over what we have."""

    def __init__(
        self, directory: Path, lock: IO[str], admin: Admin, say: Callable[[str], None], leave: Callable[[], None]
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._admin = admin
        self._say = say
        self._tell_left = leave
        self._servers: list[Server] = []
        self._metrics: tuple[tuple[str, int], Server] | None = None
        self._handover: Handover | None = None
        self.left = False  # another one has taken over

    async def enter(
        self,
        metrics: tuple[str, int] | None,
        sockets: Callable[[], Iterable[Binding]] | None,
        inherited: Inherited | None,
    ) -> bool:
        """From now on it is found. False, and said, where that can't be.

        `sockets`: what can be taken over, None for nothing at all.
        """
        path = admin_socket(self._directory)
        try:
            path.unlink(missing_ok=True)
            with reachable(path) as short:
                self._servers.append(await serve(self._admin.handle, path=short, server_name="headgate"))
            if sockets is not None:
                self._handover = Handover(self._directory, lambda: self._gifts(sockets()), self._leave)
        except OSError as error:
            self._say(f"the socket {path} can't be had: {error.strerror or error}")
            return False
        if metrics is not None:
            await self._serve_metrics(*metrics, inherited)
        if inherited is not None:
            inherited.serving()
            sign(self._directory, self._lock)
            self._say("It has taken over from the one before, which finishes what it has.")
        return True

    async def _serve_metrics(self, host: str, port: int, inherited: Inherited | None) -> None:
        had = inherited.metrics.pop((host, port), None) if inherited is not None else None
        place = {"host": host, "port": port} if had is None else {"sock": had}
        try:
            server = await serve(self._admin.handle_metrics, **place, server_name="headgate")
        except OSError as error:
            why = why_not(error, host, port)
            self._say(f"There are no metrics at {host}:{port}: {why} (another place, or off: --metrics)")
        else:
            self._servers.append(server)
            self._metrics = ((host, port), server)

    def vanish(self) -> None:
        """Nobody shall find it any more."""
        if self._servers and not self.left:
            admin_socket(self._directory).unlink(missing_ok=True)

    async def exit(self) -> None:
        for server in self._servers:
            await server.close(0)
        if self._handover is not None:
            self._handover.close(taken=self.left)
        self.vanish()

    def _gifts(self, bindings: Iterable[Binding]) -> list[tuple[Gift, int]]:
        """What there is for one that takes over."""
        gifts = [(Gift(LOCK), self._lock.fileno())]
        if self._metrics is not None:
            place, server = self._metrics
            gifts += [(Gift(METRICS, *place), one.fileno()) for one in server.listener.sockets]
        for binding in bindings:
            listener = Gift(LISTENER, binding.address, binding.port)
            gifts += [(listener, one.fileno()) for one in binding.sockets]
        return gifts

    def _leave(self) -> None:
        self._say("Another headgate has taken over: what runs here may finish. Ctrl-C stops at once.")
        self.left = True
        self._tell_left()
