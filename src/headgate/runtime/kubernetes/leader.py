"""Being the one replica that writes, or waiting to be: a Lease, renewed over a socket."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from random import random
from time import monotonic
from typing import Any

import msgspec

from headgate.runtime.kubernetes import lease as rules
from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.kubernetes.resources import Resource
from headgate.runtime.kubernetes.troubles import ROLES_S

_LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
_RELEASE_S = 2.0


class Leader:
    """`changed` is called when we become the leader, or are it no longer."""

    def __init__(self, client: Client, name: str, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.identity = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._client = client
        self._name = name
        self._namespace = client.namespace
        self._say = say
        self._changed = changed
        self._seen = rules.Seen()
        self._led = False
        self._barred = False
        self._allowed = 0.0  # until when a 403 is no answer

    @property
    def leads(self) -> bool:
        return rules.leads(self._seen, monotonic())

    async def run(self) -> None:
        """Until it is cancelled; then another one may begin at once."""
        try:
            await self._run()
        finally:
            await self._release()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(rules.DEADLINE_S / 2):
                    await self._look()
                self._barred = False
                self._allowed = float("inf")
            except Refused as error:
                # One that let us before may have started a moment ago: it does not know its own roles yet.
                self._allowed = min(self._allowed, monotonic() + ROLES_S)
                if error.status == 403 and not self._barred and monotonic() >= self._allowed:
                    self._barred = True
                    self._say(
                        f"Statuses are not written, for who writes them is not known: {error}; grant get, create and "
                        "update of leases (deploy/rbac/gateway.yaml)"
                    )
            except (Unreachable, TimeoutError, msgspec.DecodeError):
                pass  # watches tell of that
            if self.leads != self._led:
                self._led = self.leads
                self._changed()
            await asyncio.sleep(rules.LOOK_S * (0.8 + 0.4 * random()))

    async def _release(self) -> None:
        if not self.leads:
            return
        self._seen = rules.Seen()
        try:
            async with asyncio.timeout(_RELEASE_S):
                lease = await self._read()
                if lease is not None and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                    await self._client.ask("PUT", self._path(), body=rules.released(lease, _now()))
        except (Refused, Unreachable, TimeoutError, msgspec.DecodeError):
            return  # it runs out by itself

    async def _look(self) -> None:
        lease = await self._read()
        began = monotonic()
        self._seen, do = rules.decide(self._seen, lease, self.identity, began)
        if do == "stand by":
            self._seen = msgspec.structs.replace(self._seen, renewed=float("-inf"))
            return
        body = rules.held_by(self.identity, lease, self._name, self._namespace, _now())
        try:
            if do == "create":
                await self._client.ask("POST", _LEASES.path(self._namespace), body=body)
            else:
                await self._client.ask("PUT", self._path(), body=body)
        except Refused as error:
            if error.status != 409:  # somebody was faster: look again
                raise
        else:
            self._seen = msgspec.structs.replace(self._seen, renewed=began)

    async def _read(self) -> dict[str, Any] | None:
        try:
            answer = await self._client.ask("GET", self._path())
        except Refused as error:
            if error.status == 404:
                return None
            raise
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    def _path(self) -> str:
        return _LEASES.path(self._namespace, self._name)


def _now() -> str:
    """A MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
