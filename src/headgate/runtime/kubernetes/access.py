"""Where an API server is and who we are to it: from a kubeconfig, or from the service account of our own Pod.

The order is that of controllers: what was named, $KUBECONFIG, the Pod's service account, ~/.kube/config.
"""

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Struct

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class AccessError(Exception):
    """What is wrong with a kubeconfig, where, and what to write instead."""


class Pem(Struct, frozen=True):
    """Certificates or a key: in a file, which may be written anew, or as they are."""

    file: str = ""
    data: bytes = b""

    def __bool__(self) -> bool:
        return bool(self.file or self.data)


class Exec(Struct, frozen=True, rename="camel"):
    """A program that prints credentials (client.authentication.k8s.io/v1, v1beta1: ExecCredential)."""

    api_version: str
    command: str
    args: tuple[str, ...] = ()
    env: tuple[Mapping[str, str], ...] = ()
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"


class User(Struct, frozen=True):
    token: str = ""
    token_file: str = ""  # it is read again and again: tokens of service accounts expire within the hour
    basic: tuple[str, str] | None = None
    certificate: Pem = Pem()
    key: Pem = Pem()
    exec: Exec | None = None


class Access(Struct, frozen=True):
    server: str  # a URL without a slash at its end
    namespace: str = "default"  # our own
    authorities: Pem = Pem()  # none: those of the system
    server_name: str = ""  # what its certificate must name, "" the host of the URL
    insecure: bool = False
    proxy: str = ""
    user: User = User()


class _Written(Struct, frozen=True, rename="kebab"):
    """A cluster's and a user's fields in one, as far as they mean something."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    exec: Exec | None = None
    auth_provider: Any = None


def find(
    kubeconfig: str = "", context: str = "", environment: Mapping[str, str] | None = None, account: Path = ACCOUNT
) -> Access:
    """The access that there is, in the order above. Raises AccessError."""
    environment = os.environ if environment is None else environment
    if kubeconfig:
        return read([kubeconfig], context)
    if files := [file for file in environment.get("KUBECONFIG", "").split(os.pathsep) if file]:
        return read(files, context, missing=True)
    if not context and environment.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        return in_cluster(environment, account)
    home = Path(environment.get("HOME", "")) / ".kube" / "config"
    if home.exists():
        return read([str(home)], context)
    raise AccessError(
        "there is no kubeconfig: give --kubeconfig FILE or set KUBECONFIG; in a Pod, let the service account's token "
        "be mounted (automountServiceAccountToken)"
    )


def in_cluster(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access:
    """By the service account of our Pod (the token, the authorities and the namespace that kubelet mounts)."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        namespace = (account / "namespace").read_text().strip()
    except OSError:
        namespace = environment.get("POD_NAMESPACE", "default")
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace,
        authorities=Pem(str(account / "ca.crt")),
        user=User(token_file=str(account / "token")),
    )


def read(files: Sequence[str], context: str = "", *, missing: bool = False) -> Access:
    """One access of kubeconfigs; of two entries with a name the first counts. `missing` files are as good as empty."""
    entries: dict[str, dict[str, tuple[str, Mapping[str, Any]]]] = {"contexts": {}, "clusters": {}, "users": {}}
    current = ""
    for file in files:
        if missing and not os.path.exists(file):
            continue
        written = _load(file)
        current = current or str(written.get("current-context") or "")
        for kind, known in entries.items():
            for entry in written.get(kind) or ():
                known.setdefault(str(entry.get("name")), (file, entry.get(kind[:-1]) or {}))
    name = context or current
    where = " and ".join(files)
    if not name:
        raise AccessError(f"{where}: current-context is missing: write it, or give --context NAME")
    if name not in entries["contexts"]:
        known_names = ", ".join(entries["contexts"]) or "none"
        raise AccessError(f"{where}: there is no context {name}; there are: {known_names}")
    _, chosen = entries["contexts"][name]
    parts: list[tuple[str, _Written]] = []
    for kind in ("clusters", "users"):
        wanted = str(chosen.get(kind[:-1]) or "")
        if kind == "users" and not wanted:
            parts.append((where, _Written()))
            continue
        if wanted not in entries[kind]:
            raise AccessError(f"{where}: context {name} names {kind[:-1]} {wanted!r}, which is not among its {kind}")
        file, fields = entries[kind][wanted]
        parts.append((file, _convert(fields, f"{file}: {kind[:-1]} {wanted}")))
    return _access(*parts[0], *parts[1], str(chosen.get("namespace") or "default"))


def _load(file: str) -> Mapping[str, Any]:
    try:
        written = yaml.safe_load(Path(file).read_text())
    except OSError as error:
        raise AccessError(f"{file}: {error.strerror or error}") from None
    except yaml.MarkedYAMLError as error:
        # Without the text around it, which may be secret.
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise AccessError(f"{file}{line}: it is no YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise AccessError(f"{file}: it is no YAML: write a kubeconfig, as UTF-8") from None
    if not isinstance(written, Mapping):
        raise AccessError(f"{file}: it is no kubeconfig: write `apiVersion: v1`, `kind: Config`, clusters and contexts")
    return written


def _convert(fields: Mapping[str, Any], where: str) -> _Written:
    try:
        return msgspec.convert({k: v for k, v in fields.items() if v is not None}, _Written)
    except msgspec.ValidationError as error:
        raise AccessError(f"{where}: {error}") from None


def _access(cluster_file: str, cluster: _Written, user_file: str, user: _Written, namespace: str) -> Access:
    url = urlsplit(cluster.server)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise AccessError(f"{cluster_file}: server {cluster.server!r} is no URL: write https://HOST:PORT")
    if user.auth_provider is not None:
        raise AccessError(
            f"{user_file}: auth-provider is not known any more, to kubectl neither: write `exec:` with a credential "
            "plugin, such as gke-gcloud-auth-plugin"
        )
    return Access(
        server=cluster.server.rstrip("/"),
        namespace=namespace,
        authorities=_pem(cluster_file, cluster.certificate_authority, cluster.certificate_authority_data),
        server_name=cluster.tls_server_name,
        insecure=cluster.insecure_skip_tls_verify,
        proxy=cluster.proxy_url,
        user=User(
            token=user.token,
            token_file=_beside(user_file, user.token_file),
            basic=(user.username, user.password) if user.username else None,
            certificate=_pem(user_file, user.client_certificate, user.client_certificate_data),
            key=_pem(user_file, user.client_key, user.client_key_data),
            exec=_program(user_file, user.exec),
        ),
    )


def _program(file: str, program: Exec | None) -> Exec | None:
    """A command with a slash in it is found from the kubeconfig's own directory."""
    if program is None or "/" not in program.command:
        return program
    return msgspec.structs.replace(program, command=_beside(file, program.command))


def _pem(file: str, path: str, data: str) -> Pem:
    """What is written in the kubeconfig itself counts more than a file."""
    try:
        return Pem(data=base64.b64decode(data, validate=True)) if data else Pem(_beside(file, path))
    except binascii.Error:
        raise AccessError(f"{file}: certificate data is no base64: write it as one line, without blanks") from None


def _beside(file: str, path: str) -> str:
    return str(Path(file).absolute().parent / path) if path else ""
