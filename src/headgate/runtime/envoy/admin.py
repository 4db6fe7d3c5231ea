"""What Envoy tells of itself, on its admin face: whether it serves, what it has read, how many requests it has."""

import json
from pathlib import Path

from headgate.runtime.client import Answer, Client, ClientError

_VERSIONS = "/stats?filter=version_text&type=TextReadouts&format=json"
_ACTIVE = "/stats?filter=^http\\..*downstream_rq_active$&format=json"


class Face:
    """`path` is the file that Envoy writes the address to."""

    def __init__(self, client: Client, path: Path) -> None:
        self._client = client
        self._path = path

    async def serves(self) -> bool:
        answer = await self._ask("GET", "/ready")
        return answer is not None and answer.status == 200

    async def versions(self) -> frozenset[str]:
        """Of all that it has read and taken."""
        answer = await self._ask("GET", _VERSIONS)
        if answer is None or answer.status != 200:
            return frozenset()
        found = json.loads(answer.body).get("text_readouts", json.loads(answer.body).get("stats", []))
        return frozenset(str(one.get("value", "")) for one in found)

    async def active(self) -> int:
        """Requests under way; 0 where it can't be asked."""
        answer = await self._ask("GET", _ACTIVE)
        if answer is None or answer.status != 200:
            return 0
        stats = json.loads(answer.body).get("stats", [])
        return sum(one["value"] for one in stats if "admin" not in one.get("name", ""))

    async def leave(self) -> None:
        """It takes no more connections, and says so on those that it has."""
        await self._ask("POST", "/healthcheck/fail")
        await self._ask("POST", "/drain_listeners?graceful&skip_exit")

    async def _ask(self, method: str, path: str) -> Answer | None:
        try:
            host, _, port = self._path.read_text().strip().rpartition(":")
            return await self._client.fetch(method, host, int(port), path, timeout=2.0)
        except (OSError, ValueError, ClientError):
            return None
