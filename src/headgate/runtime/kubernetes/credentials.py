"""What goes with each request to an API server: a token, certificates. Files are read again when they are others."""

import asyncio
import base64
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable
from datetime import datetime
from time import time

import msgspec
from msgspec import Struct

from headgate.runtime.kubernetes.access import Access, Exec, Pem

_LOOK_S = 10.0  # how old may be what we know of the files
_EARLY_S = 60.0  # before it expires
_PROGRAM_S = 60.0
_EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")


class CredentialError(Exception):
    """Credentials could not be had; the text says of whom and why."""


class Credentials(Struct, frozen=True):
    """`tls` is None for plain HTTP."""

    authorization: str
    tls: ssl.SSLContext | None


class _Printed(Struct, frozen=True, rename="camel"):
    """ExecCredential's status."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str = ""


class _Credential(Struct, frozen=True, rename="camel"):
    status: _Printed = _Printed()


class Purse:
    """Has the credentials that hold now. `clock` gives Unix time in seconds."""

    def __init__(self, access: Access, clock: Callable[[], float] = time) -> None:
        self._access = access
        self._clock = clock
        self._looked = float("-inf")
        self._marks: tuple[object, ...] = ()
        self._printed = _Printed()
        self._until = float("-inf")  # what the program printed holds
        self._now: Credentials | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Credentials:
        """Raises CredentialError where there are none."""
        async with self._lock:
            now = self._clock()
            fresh = self._now is not None and now - self._looked < _LOOK_S
            if self._now is not None and fresh and (self._access.user.exec is None or now < self._until):
                return self._now
            if self._access.user.exec is not None and now >= self._until:
                self._printed = await _run(self._access.user.exec, self._access)
                self._until = _expiry(self._printed, now)
            marks = (*map(_mark, self._files()), self._printed)
            if self._now is None or marks != self._marks:
                try:
                    self._now = Credentials(self._authorization(), self._tls())
                except (OSError, ssl.SSLError, ValueError) as error:
                    if self._now is None:
                        raise CredentialError(f"credentials can't be used: {error}") from None
                    return self._now  # in the middle of being written: what was before may well hold on
                self._marks = marks
            self._looked = now
            return self._now

    def refused(self) -> None:
        """They were not accepted: look again at the next request, whatever their age."""
        self._looked = self._until = float("-inf")

    def _files(self) -> list[str]:
        user = self._access.user
        pems = (self._access.authorities, user.certificate, user.key)
        return [file for file in (user.token_file, *(pem.file for pem in pems)) if file]

    def _authorization(self) -> str:
        user = self._access.user
        if self._printed.token:
            return f"Bearer {self._printed.token}"
        if user.token_file:
            with open(user.token_file) as file:
                return f"Bearer {file.read().strip()}"
        if user.token:
            return f"Bearer {user.token}"
        if user.basic:
            return f"Basic {base64.b64encode(':'.join(user.basic).encode()).decode()}"
        return ""

    def _tls(self) -> ssl.SSLContext | None:
        access, user = self._access, self._access.user
        if not access.server.startswith("https://"):
            return None
        authorities = _text(access.authorities)
        context = ssl.create_default_context(cadata=authorities or None)
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = user.certificate, user.key
        if self._printed.client_certificate_data:
            certificate = Pem(data=self._printed.client_certificate_data.encode())
            key = Pem(data=self._printed.client_key_data.encode())
        if certificate:
            with _in_file(certificate) as chain, _in_file(key) as secret:
                context.load_cert_chain(chain, secret or None, lambda: _encrypted(secret))
        return context


def _encrypted(file: str) -> str:
    raise ValueError(f"the client key {file} is encrypted: write it without a passphrase")


def _text(pem: Pem) -> str:
    if pem.file:
        with open(pem.file) as file:
            return file.read()
    return pem.data.decode("ascii", "replace")


@contextlib.contextmanager
def _in_file(pem: Pem):  # type: ignore[no-untyped-def]
    """The file that it is in; OpenSSL takes certificates from nowhere else."""
    if not pem.data:
        yield pem.file
        return
    with tempfile.NamedTemporaryFile() as file:  # for nobody but us to read
        file.write(pem.data)
        file.flush()
        yield file.name


def _mark(file: str) -> tuple[str, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return file, found.st_ino, found.st_size, found.st_mtime_ns


def _expiry(printed: _Printed, now: float) -> float:
    if not printed.expiration_timestamp:
        return float("inf")
    try:
        until = datetime.fromisoformat(printed.expiration_timestamp).timestamp()
    except ValueError:
        return now + _EARLY_S
    return max(until - _EARLY_S, now + 1.0)


async def _run(program: Exec, access: Access) -> _Printed:
    if program.api_version not in _EXEC_VERSIONS:
        told = f"exec.apiVersion {program.api_version} is not known: write {_EXEC_VERSIONS[0]}"
        raise CredentialError(f"credential plugin {program.command}: {told}")
    if program.interactive_mode == "Always":
        raise CredentialError(f"credential plugin {program.command}: it wants to ask a person, and there is none here")
    spec: dict[str, object] = {"interactive": False}
    if program.provide_cluster_info:
        cluster: dict[str, object] = {"server": access.server}
        if authorities := _text(access.authorities):
            cluster["certificate-authority-data"] = base64.b64encode(authorities.encode()).decode()
        if access.insecure:
            cluster["insecure-skip-tls-verify"] = True
        if access.server_name:
            cluster["tls-server-name"] = access.server_name
        spec["cluster"] = cluster
    asked = {"apiVersion": program.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **{one["name"]: one.get("value", "") for one in program.env if "name" in one}}
    environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(asked).decode()
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        running = await asyncio.create_subprocess_exec(
            program.command, *program.args, env=environment, stdin=nothing, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        hint = f"; {' '.join(program.install_hint.split())}" if program.install_hint else ""
        raise CredentialError(f"credential plugin {program.command}: {error.strerror or error}{hint}") from None
    try:
        async with asyncio.timeout(_PROGRAM_S):
            said, complained = await running.communicate()
    except TimeoutError:
        raise CredentialError(f"credential plugin {program.command}: no answer within {_PROGRAM_S:.0f} s") from None
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()
    if running.returncode:
        text = " ".join(complained.decode("utf-8", "replace").split())[:300]
        raise CredentialError(f"credential plugin {program.command}: it failed with {running.returncode}: {text}")
    try:
        printed = msgspec.json.decode(said, type=_Credential).status
    except msgspec.DecodeError as error:
        raise CredentialError(f"credential plugin {program.command}: it printed no ExecCredential: {error}") from None
    if not printed.token and not printed.client_certificate_data:
        raise CredentialError(f"credential plugin {program.command}: it printed neither a token nor a certificate")
    return printed
