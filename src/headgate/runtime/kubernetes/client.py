"""Requests to an API server, and streams from it: paths and JSON in, JSON or what went wrong out."""

import os
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from headgate import __version__
from headgate.runtime.kubernetes.access import Access
from headgate.runtime.kubernetes.credentials import CredentialError, Purse

if TYPE_CHECKING:
    import aiohttp

_CONNECT_S = 10.0
_ANSWER_S = 30.0
_KEEPALIVE = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes
_LONGEST_LINE = 64 << 20  # bytes of one event; etcd holds objects of 1.5 MB
_UNAUTHORIZED = 401

Query = Mapping[str, str]


class Refused(Exception):
    """The server has answered, and not with what was asked for (metav1.Status)."""

    def __init__(self, status: int, reason: str = "", message: str = "", retry_after: float | None = None) -> None:
        super().__init__(message or reason or f"status {status}")
        self.status, self.reason, self.message, self.retry_after = status, reason, message, retry_after


class Unreachable(Exception):
    """There was no answer, or it broke off."""


class NotInstalled(Exception):
    """aiohttp is not."""

    def __init__(self) -> None:
        super().__init__("this needs aiohttp: pip install -e '.[kubernetes]' in Headgate's directory")


class Answer(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """One API server. Belongs to one event loop; `close` it at the end. Raises NotInstalled."""

    def __init__(self, access: Access) -> None:
        try:
            import aiohttp
        except ImportError:
            raise NotInstalled from None
        self._aiohttp = aiohttp
        self._access = access
        self._purse = Purse(access)
        self._session: aiohttp.ClientSession | None = None

    @property
    def server(self) -> str:
        return self._access.server

    @property
    def namespace(self) -> str:
        """Our own, by the service account or the kubeconfig's context."""
        return self._access.namespace

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        seconds: float = _ANSWER_S,
    ) -> Answer:
        """One request, its whole answer. Raises Refused for a status of 400 or more, Unreachable."""
        data = None if body is None else msgspec.json.encode(body)
        sent = {"accept": accept, **(headers or {})}
        if data is not None:
            sent["content-type"] = content_type
        times = self._aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT_S)
        try:
            async with await self._send(method, path, query, data, sent, times) as response:
                return Answer(response.status, response.headers, await response.read())
        except (self._aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(_plain(error)) from None

    async def lines(self, path: str, query: Query, *, silence: float) -> AsyncGenerator[bytes]:
        """The lines of an answer that goes on and on, until the server ends it.

        Raises Refused, and Unreachable when it breaks off, or when nothing has come for `silence` seconds.
        """
        times = self._aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence)
        kept: list[bytes] = []
        length = 0
        try:
            async with await self._send("GET", path, query, None, {"accept": "application/json"}, times) as response:
                async for chunk in response.content.iter_any():
                    first, *rest = chunk.split(b"\n")
                    kept.append(first)
                    length += len(first)
                    if length > _LONGEST_LINE:
                        raise Unreachable(f"an event is larger than {_LONGEST_LINE >> 20} MiB")
                    for part in rest:
                        line = b"".join(kept)
                        kept, length = [part], len(part)
                        if line:
                            yield line
        except (self._aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(_plain(error)) from None

    async def _send(
        self,
        method: str,
        path: str,
        query: Query | None,
        data: bytes | None,
        headers: Mapping[str, str],
        times: "aiohttp.ClientTimeout",
    ) -> "aiohttp.ClientResponse":
        """A response that has begun well. Credentials that are refused are had anew, once."""
        response = await self._once(method, path, query, data, headers, times)
        if response.status == _UNAUTHORIZED:
            response.release()
            self._purse.refused()
            response = await self._once(method, path, query, data, headers, times)
        if response.status >= 400:
            async with response:
                raise _refusal(response.status, response.headers, await response.read())
        return response

    async def _once(
        self,
        method: str,
        path: str,
        query: Query | None,
        data: bytes | None,
        headers: Mapping[str, str],
        times: "aiohttp.ClientTimeout",
    ) -> "aiohttp.ClientResponse":
        try:
            credentials = await self._purse.current()
        except CredentialError as error:
            raise Unreachable(str(error)) from None
        if credentials.authorization:
            headers = {**headers, "authorization": credentials.authorization}
        if self._session is None:
            connector = self._aiohttp.TCPConnector(limit=0, socket_factory=_socket)
            agent = {"user-agent": f"headgate/{__version__}"}
            self._session = self._aiohttp.ClientSession(connector=connector, headers=agent, trust_env=True)
        more: dict[str, Any] = {"proxy": self._access.proxy} if self._access.proxy else {}
        if credentials.tls is not None:
            more["ssl"] = credentials.tls
            if self._access.server_name:
                more["server_hostname"] = self._access.server_name
        url = f"{self._access.server}{path}"
        return await self._session.request(
            method, url, params=query, data=data, headers=headers, timeout=times, allow_redirects=False, **more
        )


def _socket(address: "tuple[Any, ...]") -> socket.socket:
    """A peer that is gone without a word is noticed: a watch may hear nothing for minutes, and be well."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


class _Status(Struct, frozen=True):
    reason: str = ""
    message: str = ""


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    try:
        told = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        told = _Status(message=" ".join(body[:300].decode("utf-8", "replace").split()))
    after = headers.get("retry-after", "")
    return Refused(status, told.reason, told.message, float(after) if after.isdigit() else None)


def _plain(error: BaseException) -> str:
    """In words, without the library's own objects."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {inner.verify_message}"
    if isinstance(inner, OSError) and inner.errno and not isinstance(inner, ssl.SSLError | socket.gaierror):
        return os.strerror(inner.errno)
    return " ".join(str(inner).split()) or type(error).__name__
