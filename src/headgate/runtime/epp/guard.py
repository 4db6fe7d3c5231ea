"""Who may read the metrics, as the cluster says: TokenReview tells whose a token is, SubjectAccessReview what he may.

Sources: authentication.k8s.io/v1, authorization.k8s.io/v1; controller-runtime asks the same of who scrapes it.
"""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec

from headgate.runtime.kubernetes.client import Client, Refused, Unreachable
from headgate.runtime.server import Answer, Request

_TEXT = (("content-type", "text/plain; charset=utf-8"),)
_REMEMBERED_S = 60.0
_WHY = {401: b"the token is not valid\n", 403: b"the token's owner may not get /metrics\n"}
_TOKENS = 256  # that are remembered

Handler = Callable[[Request], Answer | Awaitable[Answer]]


class Guard:
    """Mutable. What was found out of a token holds for a minute."""

    def __init__(self, client: Client, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, int]] = {}  # until when, and the status (200: let in)

    async def close(self) -> None:
        await self._client.close()

    def before(self, handler: Handler) -> Handler:
        """The same, for `/metrics` of those only who may read them."""

        def handle(request: Request) -> Answer | Awaitable[Answer]:
            return self._admit(request, handler) if request.path == "/metrics" else handler(request)

        return handle

    async def _admit(self, request: Request, handler: Handler) -> Answer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return Answer(401, _TEXT, b"a service account's token is needed: Authorization: Bearer TOKEN\n")
        status = await self._judge(token.strip(), request.path)
        if status != 200:
            return Answer(status, _TEXT, _WHY.get(status, b"the API server gives no verdict\n"))
        answer = handler(request)
        return answer if isinstance(answer, Answer) else await answer

    async def _judge(self, token: str, path: str) -> int:
        now, key = self._clock(), (token, path)
        until, status = self._known.get(key, (0.0, 0))
        if until > now:
            return status
        try:
            status = await self._ask(token, path)
        except (Refused, Unreachable):
            return 500
        if len(self._known) >= _TOKENS:
            self._known.clear()
        self._known[key] = now + _REMEMBERED_S, status
        return status

    async def _ask(self, token: str, path: str) -> int:
        review = await self._review("authentication", "TokenReview", "tokenreviews", {"token": token})
        if not review.get("authenticated"):
            return 401
        user = review.get("user") or {}
        spec = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        verdict = await self._review("authorization", "SubjectAccessReview", "subjectaccessreviews", spec)
        return 200 if verdict.get("allowed") else 403

    async def _review(self, group: str, kind: str, plural: str, spec: dict[str, Any]) -> dict[str, Any]:
        version = f"{group}.k8s.io/v1"
        body = {"apiVersion": version, "kind": kind, "spec": spec}
        answer = await self._client.ask("POST", f"/apis/{version}/{plural}", body=body)
        found: dict[str, Any] = msgspec.json.decode(answer.body).get("status") or {}
        return found
