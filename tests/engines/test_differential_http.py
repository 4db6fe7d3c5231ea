"""What is below the API: the same bytes to vLLM and to the simulator, good HTTP and bad."""

import concurrent.futures
import re
import socket
from collections.abc import Iterator

import pytest
from pair import Pair

BODY = b'{"prompt":"Hi","max_tokens":2,"ignore_eos":true}'


def post(body: bytes = BODY, *lines: bytes) -> bytes:
    head = (b"POST /v1/completions HTTP/1.1", b"host: x", b"content-length: %d" % len(body))
    kinds = () if any(line.startswith(b"content-type") for line in lines) else (b"content-type: application/json",)
    return b"\r\n".join((*head, *kinds, *lines, b"", body))


def get(target: bytes, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join((method + b" " + target + b" HTTP/" + version, *lines, b"", b""))


CHUNKED = post(b"", b"transfer-encoding: chunked").replace(b"content-length: 0\r\n", b"")
SENT = {
    "no host": get(b"/health"),
    "an old version": get(b"/health", version=b"1.0"),
    "an old version that would go on": get(b"/health", b"connection: keep-alive", version=b"1.0"),
    "a last request": get(b"/health", b"connection: close"),
    "no HTTP": b"hello world\r\n\r\n",
    "a method in lower case": get(b"/health", method=b"get"),
    "a method of caches": get(b"/health", method=b"PURGE"),
    "an absolute URL": get(b"http://elsewhere/health"),
    "an asterisk": get(b"*", method=b"OPTIONS"),
    "three in a row": get(b"/health") + post() + get(b"/version"),
    "a chunked body": CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    "a broken chunk": CHUNKED + b"zz\r\n",
    "both lengths": post(b"", b"transfer-encoding: chunked") + b"0\r\n\r\n",
    "a length that is no number": post(b"").replace(b"content-length: 0", b"content-length: x"),
    "a client that waits for 100": post(BODY, b"expect: 100-continue"),
    "another protocol": get(b"/health", b"connection: upgrade", b"upgrade: h2c"),
    "another protocol for a body": post(BODY, b"connection: upgrade", b"upgrade: h2c"),
    "a compressed body": post(b"\x1f\x8b\x08\x00", b"content-encoding: gzip"),
    "a body that is no text": post(b'{"prompt":"\xff"}'),
    "two types": post(BODY, b"content-type: text/plain", b"content-type: application/json"),
    "a path with an encoded slash": get(b"/v1%2fmodels"),
    "a fragment": get(b"/health#here"),
    "a path that is not ASCII": get("/héalth".encode()),
    "not a number": post(b'{"prompt":"Hi","temperature":NaN}'),
    "a number too big for a float": post(b'{"prompt":"Hi","temperature":1e999}'),
    "a deep body": post(b'{"prompt":' + b"[" * 100_000),
    "a byte order mark": post(b"\xef\xbb\xbf" + BODY),
    "UTF-16": post(BODY.decode().encode("utf-16")),
    "one field twice": post(b'{"prompt":"Hi","max_tokens":2,"prompt":"Ho","ignore_eos":true}'),
}


def exchange(host: str, port: int, sent: bytes) -> list[str]:
    """What comes back until the server closes, or nothing more comes: status and headers of each answer, its errors."""
    came = b""
    with socket.create_connection((host, port), timeout=1.5) as connection:
        connection.sendall(sent)
        try:
            while part := connection.recv(65536):
                came += part
            end = "closed"
        except TimeoutError:
            end = "open"
    text = came.decode("utf-8", "replace")
    told = []
    for head, body in re.findall(r"(HTTP/1\.1 .*?)\r\n\r\n(.*?)(?=HTTP/1\.1 |$)", text, re.DOTALL):
        status, *lines = head.split("\r\n")
        lines = [re.sub(r"^(date|content-length): .*", r"\1", line) for line in lines]
        told += [status, *sorted(lines), *([] if " 200 " in status else [body])]
    return [*told, end]


@pytest.fixture(scope="module")
def exchanged(pair: Pair) -> Iterator[dict[str, tuple[list[str], list[str]]]]:
    def both(sent: bytes) -> tuple[list[str], list[str]]:
        theirs = exchange(pair.vllm.host, pair.vllm.port, sent)
        return theirs, exchange(pair.simulator.host, pair.simulator.port, sent)

    with concurrent.futures.ThreadPoolExecutor(len(SENT)) as pool:
        yield dict(zip(SENT, pool.map(both, SENT.values()), strict=True))


@pytest.mark.parametrize("name", SENT)
def test_vllm_and_the_simulator_speak_the_same_http(
    exchanged: dict[str, tuple[list[str], list[str]]], name: str
) -> None:
    theirs, ours = exchanged[name]
    assert ours == theirs
