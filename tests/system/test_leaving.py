"""Clients that leave a real gateway before a model server: the server stops computing at once."""

import socket
import struct
import time
import urllib.request
from collections.abc import Iterator

import pytest
from openai import OpenAI
from running import Running
from written import system

_BODY = b'{"model":"base","stream":%s,"max_tokens":4000,"messages":[{"role":"user","content":"Count."}]}'


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("leaving")
    with Running(directory, system(directory / "manifests", replicas=1)) as running:
        yield running


def _gauge(host: str, name: str) -> float:
    """The sum of a metric's samples at the model server."""
    page = urllib.request.urlopen(f"http://{host}:8000/metrics", timeout=5).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))


def _ask(gate: Running, *, stream: bool) -> socket.socket:
    body = _BODY % (b"true" if stream else b"false")
    client = socket.create_connection((gate.address, 8080), timeout=10)
    client.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gw\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    return client


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", ["closes", "resets", "closes its side first"])
def test_a_request_is_aborted_at_the_server_as_soon_as_its_client_is_gone(
    gate: Running, how: str, stream: bool
) -> None:
    (host,) = gate.servers()
    aborted = 'vllm:request_success_total{engine="0",finished_reason="abort"'
    before = _gauge(host, aborted)
    client = _ask(gate, stream=stream)
    gate.until(lambda: _gauge(host, "vllm:num_requests_running") == 1)
    if stream:
        while b"data:" not in client.recv(65536):
            pass
    if how == "resets":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "closes its side first":
        client.shutdown(socket.SHUT_WR)
        time.sleep(0.15)
        assert _gauge(host, "vllm:num_requests_running") == 1, "it may still listen"
        if not stream:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    began = time.monotonic()
    while _gauge(host, "vllm:num_requests_running"):
        assert time.monotonic() - began < 5
    # A tenth of a second, and what asking takes on a machine that others use too.
    assert time.monotonic() - began < 0.4
    assert _gauge(host, aborted) == before + 1


def test_the_openai_client_that_closes_a_stream_ends_it_at_the_server(gate: Running) -> None:
    (host,) = gate.servers()
    with OpenAI(base_url=f"http://{gate.address}:8080/v1", api_key="none", max_retries=0, timeout=10) as client:
        stream = client.chat.completions.create(
            model="base", messages=[{"role": "user", "content": "Count."}], stream=True, max_tokens=4000
        )
        next(iter(stream))
        stream.close()
        gate.until(lambda: _gauge(host, "vllm:num_requests_running") == 0, 1)
