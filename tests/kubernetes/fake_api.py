"""A small API server over a real socket: lists in pages, watches, forgets, refuses, goes away and returns.

What it knows of Kubernetes it knows by itself; it shares no code with what is tested.
"""

import asyncio
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

Object = dict[str, Any]

# kind → group, version, plural, namespaced
KINDS = {
    "Service": ("", "v1", "services", True),
    "ConfigMap": ("", "v1", "configmaps", True),
    "Secret": ("", "v1", "secrets", True),
    "Namespace": ("", "v1", "namespaces", False),
    "Pod": ("", "v1", "pods", True),
    "Deployment": ("apps", "v1", "deployments", True),
    "StatefulSet": ("apps", "v1", "statefulsets", True),
    "Lease": ("coordination.k8s.io", "v1", "leases", True),
    "Event": ("events.k8s.io", "v1", "events", True),
    "GatewayClass": ("gateway.networking.k8s.io", "v1", "gatewayclasses", False),
    "Gateway": ("gateway.networking.k8s.io", "v1", "gateways", True),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes", True),
    "ReferenceGrant": ("gateway.networking.k8s.io", "v1beta1", "referencegrants", True),
    "InferencePool": ("inference.networking.k8s.io", "v1", "inferencepools", True),
    "InferenceObjective": ("inference.networking.x-k8s.io", "v1alpha2", "inferenceobjectives", True),
}


_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: it, user: me, namespace: default}}}}]
clusters: [{{name: it, cluster: {{server: "{url}"}}}}]
users: [{{name: me, user: {user}}}]
"""


def kubeconfig(directory: Path, url: str, user: str = "{token: good}") -> Path:
    """One that leads there, in `directory`."""
    file = directory / "kubeconfig"
    file.write_text(_KUBECONFIG.format(url=url, user=user))
    return file


class FakeApi:
    """`async with FakeApi() as api`: then `api.url`. `served` are the kinds that it has."""

    def __init__(self, aggregated: bool = True) -> None:
        self.served = set(KINDS)
        self.aggregated = aggregated
        self.refused: dict[str, int] = {}  # plural → status
        self.requests: list[tuple[str, str]] = []
        self.patched: list[tuple[str, Object]] = []
        self.tokens: set[str] = set()  # () any
        self.page = 500  # at most
        self._version = 100
        self._forgotten = 0
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._events: list[tuple[int, str, str, Object]] = []  # version, plural, type, object
        self._stirred = asyncio.Condition()
        self._watches: set[asyncio.Task[Any]] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def __aenter__(self) -> "FakeApi":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self.end_watches()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def end_watches(self) -> None:
        """Cut them off."""
        for task in list(self._watches):
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    # What tests do to it.

    async def put(self, value: Object, status: bool = False) -> Object:
        """Create or replace an object, its status too where that is said. Another spec is another generation."""
        value = copy.deepcopy(value)
        plural, namespaced = KINDS[value["kind"]][2:]
        metadata = value.setdefault("metadata", {})
        if namespaced:
            metadata["namespace"] = metadata.get("namespace") or "default"
        key = (plural, metadata.get("namespace", ""), metadata["name"])
        before = self._objects.get(key)
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        metadata["uid"] = before["metadata"]["uid"] if before else f"uid-{self._version}"
        metadata["creationTimestamp"] = before["metadata"]["creationTimestamp"] if before else "2026-01-01T00:00:00Z"
        metadata["managedFields"] = [{"manager": "somebody", "fieldsV1": {"f:spec": {}}}]
        generation = before["metadata"]["generation"] if before else 1
        if before and before.get("spec") != value.get("spec"):
            generation += 1
        metadata["generation"] = generation
        if before and not status and "status" in before and value["kind"] != "Pod":
            value["status"] = before["status"]
        self._objects[key] = value
        await self._stir(plural, "MODIFIED" if before else "ADDED", value)
        return value

    async def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        plural, namespaced = KINDS[kind][2:]
        value = self._objects.pop((plural, namespace if namespaced else "", name))
        self._version += 1
        value = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self._version)}}
        await self._stir(plural, "DELETED", value)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        plural, namespaced = KINDS[kind][2:]
        return self._objects[plural, namespace if namespaced else "", name]

    def all(self, kind: str) -> list[Object]:
        return [value for key, value in self._objects.items() if key[0] == KINDS[kind][2]]

    def forget(self) -> None:
        """Compact: no watch can go on from what was."""
        self._forgotten = self._version
        self._events.clear()

    async def _stir(self, plural: str, type_: str, value: Object) -> None:
        self._events.append((self._version, plural, type_, copy.deepcopy(value)))
        async with self._stirred:
            self._stirred.notify_all()

    # What it answers.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.requests.append((request.method, request.path_qs))
        if self.tokens and request.headers.get("authorization") not in {f"Bearer {one}" for one in self.tokens}:
            return _status(401, "Unauthorized", "Unauthorized")
        parts = path.strip("/").split("/")
        if parts == ["apis"]:
            return self._discovery(request)
        if parts[0] == "apis" and len(parts) == 3:
            return self._of_version(parts[1], parts[2])
        start = 2 if parts[0] == "api" else 3
        group = "" if parts[0] == "api" else parts[1]
        rest = parts[start:]
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = [*rest, "", ""][:3]
        kind = next((k for k, one in KINDS.items() if one[2] == plural and one[0] == group and k in self.served), None)
        if kind is None:
            return web.Response(status=404, text="404 page not found\n")
        if plural in self.refused:
            return _status(self.refused[plural], "Forbidden", f"{plural} is forbidden: User cannot")
        if request.method == "GET" and not name:
            if request.query.get("watch"):
                return await self._watch(request, plural, namespace)
            return self._list(request, kind, plural, namespace)
        return await self._one(request, kind, (plural, namespace, name), sub)

    def _discovery(self, request: web.Request) -> web.Response:
        groups: dict[str, dict[str, list[str]]] = {}
        for kind in sorted(self.served):
            group, version, _, _ = KINDS[kind]
            if group:
                groups.setdefault(group, {}).setdefault(version, []).append(kind)
        if not self.aggregated or "APIGroupDiscoveryList" not in request.headers.get("accept", ""):
            listed = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version} for version in of],
                }
                for group, of in groups.items()
            ]
            return web.json_response({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        items = [
            {
                "metadata": {"name": group},
                "versions": [
                    {
                        "version": version,
                        "freshness": "Current",
                        "resources": [
                            {
                                "resource": KINDS[kind][2],
                                "responseKind": {"group": group, "version": version, "kind": kind},
                                "scope": "Namespaced" if KINDS[kind][3] else "Cluster",
                            }
                            for kind in kinds
                        ],
                    }
                    for version, kinds in of.items()
                ],
            }
            for group, of in groups.items()
        ]
        tag = f'"{hash(frozenset(self.served))}"'
        if request.headers.get("if-none-match") == tag:
            return web.Response(status=304, headers={"etag": tag})
        return web.json_response({"kind": "APIGroupDiscoveryList", "items": items}, headers={"etag": tag})

    def _of_version(self, group: str, version: str) -> web.Response:
        resources: list[Object] = []
        for kind in sorted(self.served):
            if KINDS[kind][:2] == (group, version):
                plural, namespaced = KINDS[kind][2:]
                resources.append({"name": plural, "kind": kind, "namespaced": namespaced})
                resources.append({"name": f"{plural}/status", "kind": kind, "namespaced": namespaced})
        return web.json_response({"groupVersion": f"{group}/{version}", "resources": resources})

    def _list(self, request: web.Request, kind: str, plural: str, namespace: str) -> web.Response:
        found = [
            value
            for key, value in sorted(self._objects.items())
            if key[0] == plural and _in(value, namespace, request.query)
        ]
        start = int(request.query.get("continue") or 0)
        limit = min(int(request.query.get("limit") or 0) or self.page, self.page)
        metadata = {"resourceVersion": str(self._version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        items = [
            {k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in found[start : start + limit]
        ]
        return web.json_response({"kind": f"{kind}List", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, plural: str, namespace: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self._forgotten:
            return _status(410, "Expired", f"too old resource version: {since} ({self._forgotten})")
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        seen: dict[str, bool] = {}
        for version, of, type_, value in self._events:  # what the watcher knows already
            if of == plural and version <= since:
                seen[_key(value)] = type_ != "DELETED" and _in(value, namespace, request.query)
        sent = since
        try:
            async with asyncio.timeout(float(request.query.get("timeoutSeconds") or 300)):
                while True:
                    for version, of, type_, value in list(self._events):
                        if of != plural or version <= sent:
                            continue
                        sent = version
                        # An object that leaves the selection is deleted, as far as this watch goes.
                        was, now = seen.get(_key(value), True), _in(value, namespace, request.query)
                        seen[_key(value)] = now and type_ != "DELETED"
                        if not now and not was:
                            continue
                        told = "DELETED" if not now else type_
                        await response.write(json.dumps({"type": told, "object": value}).encode() + b"\n")
                    if request.query.get("allowWatchBookmarks") and sent < self._version:
                        sent = self._version
                        mark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(sent)}}}
                        await response.write(json.dumps(mark).encode() + b"\n")
                    async with self._stirred:
                        if not any(version > sent for version, *_ in self._events):
                            await self._stirred.wait()
        except TimeoutError:
            return response
        finally:
            self._watches.discard(task)

    async def _one(self, request: web.Request, kind: str, key: tuple[str, str, str], sub: str) -> web.Response:
        body: Object = {}
        if request.can_read_body:
            body = json.loads(await request.read())
        before = self._objects.get(key)
        if request.method == "POST":
            name = body["metadata"].get("name") or f"{body['metadata']['generateName']}{self._version}"
            if (key[0], key[1], name) in self._objects:
                return _status(409, "AlreadyExists", f"{name} already exists")
            body["kind"] = kind
            body["metadata"] |= {"name": name, "namespace": key[1]}
            return web.json_response(await self.put(body, status=True), status=201)
        if before is None:
            return _status(404, "NotFound", f"{key[2]} not found")
        if request.method == "GET":
            return web.json_response(before)
        if request.method == "DELETE":
            await self.delete(kind, key[2], key[1])
            return web.json_response({"kind": "Status", "status": "Success"})
        asked = body.get("metadata", {}).get("resourceVersion")
        if asked and asked != before["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        if request.method == "PUT":
            return web.json_response(await self.put(body, status=True))
        assert request.method == "PATCH"
        assert request.content_type == "application/apply-patch+yaml"
        assert request.query.get("fieldManager") == "headgate"
        assert sub == "status"
        self.patched.append((request.path, body))
        after = copy.deepcopy(before)
        after["status"] = _applied(before.get("status") or {}, body.get("status") or {})
        if after["status"] != before.get("status"):
            after = await self.put(after, status=True)
        return web.json_response(after)


def _applied(before: Object, wanted: Object) -> Object:
    """Lists of conditions are maps by type; every other list is replaced as a whole."""
    result = {**before, **wanted}
    if "conditions" in wanted:
        conditions = {one["type"]: one for one in before.get("conditions") or ()}
        conditions |= {one["type"]: one for one in wanted["conditions"]}
        result["conditions"] = list(conditions.values())
    return result


def _key(value: Object) -> str:
    return f"{value['metadata'].get('namespace', '')}/{value['metadata']['name']}"


def _in(value: Object, namespace: str, query: Mapping[str, str]) -> bool:
    labels = value["metadata"].get("labels") or {}
    wanted = [one.partition("=")[::2] for one in query.get("labelSelector", "").split(",") if one]
    here = namespace in ("", value["metadata"].get("namespace", ""))
    return here and all(labels.get(key) == text for key, text in wanted)


def _status(code: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.json_response(body, status=code)


def pod(name: str, *, ready: bool = True, address: str = "127.0.0.1", app: str = "vllm", **more: Any) -> Object:
    """A Pod as kubelet reports it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}, **more},
        "spec": {"containers": [{"name": "vllm", "ports": [{"name": "http", "containerPort": 8000}]}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }


async def until(holds: Any, seconds: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  (anything may make it hold)
            await asyncio.sleep(0.005)
