"""An apiextensions-apiserver: the part of a kube-apiserver that serves kinds of a user's own, in a version of its own.

Beside an old kube-apiserver, which it asks who may do what, it knows the rules between fields that the old one does
not.
"""

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from control_plane import ControlPlane, Refused, call, free_ports, refused

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# They would ask the old one for kinds that it does not have.
_ADMISSION = (
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceLifecycle",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
)


class ExtensionServer:
    """Use as a context manager."""

    def __init__(self, program: Path, cluster: ControlPlane) -> None:
        self._program, self._cluster = program, cluster
        self._certificates = cluster.directory / "extensions"
        self._log = cluster.directory / "apiextensions-apiserver.log"
        (self._port,) = free_ports(1)
        self.url = f"https://127.0.0.1:{self._port}"

    def __enter__(self) -> "ExtensionServer":
        kubeconfig = self._cluster.kubeconfig
        command = [
            self._program,
            f"--etcd-servers=http://127.0.0.1:{self._cluster.etcd_port}",
            "--etcd-prefix=/extensions",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._certificates}",
            *(f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")),
            "--authentication-tolerate-lookup-failure=true",
            "--enable-priority-and-fairness=false",
            f"--disable-admission-plugins={','.join(_ADMISSION)}",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._until(lambda: self._ask("/readyz") == b"ok")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def define(self, definitions: list[dict[str, Any]]) -> None:
        """Make CustomResourceDefinitions, and wait until their kinds are served."""
        for one in definitions:
            self._ask(_CRDS, "POST", json.dumps(one).encode())
        self._until(self._all_served)

    @property
    def version(self) -> tuple[int, int]:
        found = json.loads(self._ask("/version"))
        return int(found["major"]), int(found["minor"].rstrip("+"))

    def refusal(self, path: str, body: Any) -> str:
        return refused(self.url, self._certificates, path, body)

    def _ask(self, path: str, method: str = "GET", data: bytes | None = None) -> bytes:
        return call(self.url, self._certificates, path, method, data)

    def _all_served(self) -> bool:
        """Whether each answers for each of its versions; `Established` comes a little before."""
        for one in json.loads(self._ask(_CRDS))["items"]:
            for version in one["spec"]["versions"]:
                self._ask(f"/apis/{one['spec']['group']}/{version['name']}/{one['spec']['names']['plural']}")
        return True

    def _until(self, ready: Any, patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while True:
            with suppress(OSError, Refused):
                if ready():
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"apiextensions-apiserver does not come to it:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.1)
