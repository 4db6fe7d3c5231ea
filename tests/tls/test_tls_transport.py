"""The TLS transport over real sockets: what is written arrives whole and in order, and an end is what it seems."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

import uvloop
from authority import Authority
from hypothesis import given, settings
from hypothesis import strategies as st
from secured import DEADLINE_S, eventually

from headgate.plan.sealed import Sealed
from headgate.plan.tls import Certificate
from headgate.proxy.connect import connect
from headgate.proxy.contexts import Trust, server_context
from headgate.proxy.tls import Tls

CA = Authority()
_ISSUED = CA.issue("a.x")
_PEM = Sealed((_ISSUED.chain + _ISSUED.key).encode())
SERVER = server_context(Certificate("ns/cert", ("a.x",), _ISSUED.certificate.not_valid_after_utc, "", _PEM), None)
TRUST = Trust("a.x", CA.client())


class Peer(asyncio.Protocol):
    """Keeps what comes, and pauses after each piece as often as it is told to."""

    def __init__(self, *, echo: bool = False, pauses: int = 0) -> None:
        self.echo, self.pauses = echo, pauses
        self.got = bytearray()
        self.events: list[str] = []
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        assert self.events == ["made"], "data before the beginning, or after the end"
        self.got += data
        if self.echo:
            self.transport.write(data)
        if self.pauses:
            self.pauses -= 1
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, self._resume)

    def _resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")
        self.error = error


class Server(Tls):
    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer
        self.refused: list[ssl.SSLError] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._begin(SERVER, server_side=True)

    def _greeted(self) -> Peer:
        return self.peer

    def _turned_away(self, error: ssl.SSLError) -> None:
        self.refused.append(error)
        self.raw.close()


Story = Callable[[Server, int], Awaitable[None]]


def run(story: Story, peer: Peer) -> None:
    """One connection can be made to the server of `peer`, at the port that the story gets."""

    async def main() -> None:
        mistakes: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: mistakes.append(str(context)))
        server = Server(peer)
        listening = await loop.create_server(lambda: server, "127.0.0.1", 0)
        async with asyncio.timeout(DEADLINE_S):
            await story(server, listening.sockets[0].getsockname()[1])
        listening.close()
        assert mistakes == []

    uvloop.run(main())


_pieces = st.lists(
    st.one_of(st.integers(0, 40), st.sampled_from([16_383, 16_384, 16_385, 32_768, 100_000, 300_000])), max_size=12
)


@settings(max_examples=40)
@given(_pieces, st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_what_is_written_comes_back_whole_and_in_order(sizes: list[int], near: int, far: int, at_once: bool) -> None:
    pieces = [bytes([n + 1]) * size for n, size in enumerate(sizes)]
    whole = b"".join(pieces)

    async def story(server: Server, port: int) -> None:
        client = await connect(lambda: Peer(pauses=near), "127.0.0.1", port, TRUST)
        if at_once:
            client.transport.writelines(pieces)
        else:
            for piece in pieces:
                client.transport.write(piece)
                await asyncio.sleep(0)
        await eventually(lambda: len(client.got) == len(whole))
        assert client.got == server.peer.got == whole
        client.transport.close()
        await eventually(lambda: server.peer.events == ["made", "eof", "lost"])
        assert client.events == ["made", "lost"]
        assert (client.error, server.peer.error) == (None, None)

    run(story, Peer(echo=True, pauses=far))


def _dial(port: int) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    return CA.client().wrap_socket(raw, server_hostname="a.x")


def test_an_end_without_a_close_notify_is_an_error() -> None:
    async def story(server: Server, port: int) -> None:
        client = await asyncio.to_thread(_dial, port)
        client.send(b"half of it")
        await eventually(lambda: server.peer.got == b"half of it")
        client.shutdown(socket.SHUT_WR)  # of TCP, as whoever stands between could do it
        await eventually(lambda: "lost" in server.peer.events)
        assert isinstance(server.peer.error, ConnectionResetError)
        client.close()

    run(story, Peer())


def test_who_closes_says_goodbye() -> None:
    async def story(server: Server, port: int) -> None:
        client = await asyncio.to_thread(_dial, port)
        client.suppress_ragged_eofs = False  # an end without close_notify would raise
        server.peer.transport.write(b"all of it")
        server.peer.transport.close()
        server.peer.transport.write(b"nothing more")
        assert await asyncio.to_thread(client.recv, 100) == b"all of it"
        assert await asyncio.to_thread(client.recv, 100) == b""
        client.close()

    run(story, Peer())


def test_after_its_last_word_the_server_hears_the_client_out() -> None:
    async def story(server: Server, port: int) -> None:
        client = await asyncio.to_thread(_dial, port)
        server.peer.transport.write(b"no more, please")
        server.peer.transport.write_eof()
        await asyncio.to_thread(client.sendall, bytes(5_000_000))
        assert await asyncio.to_thread(client.recv, 100) == b"no more, please"
        assert await asyncio.to_thread(client.recv, 100) == b""
        client.close()
        await eventually(lambda: "lost" in server.peer.events)
        assert server.peer.got == b""

    run(story, Peer())


def test_a_record_that_was_tampered_with_ends_the_connection() -> None:
    async def story(server: Server, port: int) -> None:
        client = await asyncio.to_thread(_dial, port)
        raw = socket.socket(fileno=client.detach())
        raw.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert (await asyncio.to_thread(raw.recv, 4096)) != b""  # the alert
        await eventually(lambda: "lost" in server.peer.events)
        assert isinstance(server.peer.error, ssl.SSLError)
        assert server.peer.got == b""
        raw.close()

    run(story, Peer())


def test_a_client_that_speaks_no_tls_gets_no_further() -> None:
    async def story(server: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
        await reader.read()
        assert server.refused
        assert server.peer.events == []
        writer.close()

    run(story, Peer())
