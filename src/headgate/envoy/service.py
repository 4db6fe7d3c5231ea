"""The gRPC service `envoy.service.ext_proc.v3.ExternalProcessor`: one stream for each HTTP request."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from headgate.envoy.hints import SITE
from headgate.envoy.options import Options
from headgate.envoy.plane import Plane
from headgate.envoy.turn import Turn
from headgate.envoy.wire import read, write
from headgate.exchange.site import Site

NAME = "envoy.service.ext_proc.v3.ExternalProcessor"
PROCESS = f"/{NAME}/Process"

Sites = Callable[[str], Site | None]


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """`sites` gives the site by the name that the stream's metadata has, "" where it has none; None: there is none.

    `mistaken` hears of our own mistakes.
    """

    def __init__(
        self, plane: Plane, sites: Sites, options: Options, mistaken: Callable[[str, Exception], None]
    ) -> None:
        self._plane = plane
        self._sites = sites
        self._options = options
        self._mistaken = mistaken
        self.streams: set[asyncio.Task[Any]] = set()  # under way
        self._handler = grpc.stream_stream_rpc_method_handler(self._process)

    def service(self, details: Any) -> Any:
        return self._handler if details.method == PROCESS else None

    async def _process(self, _: Any, context: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.streams.add(task)
        try:
            name = next((value for key, value in context.invocation_metadata() or () if key == SITE), "")
            site = self._sites(name)
            if site is None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, f"there is no site {name or 'here'}")
                return
            await _Stream(context, self._plane, site, self._options).run()
        except (asyncio.CancelledError, aio.AbortError):
            raise
        except DecodeError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no ProcessingRequest: {error}")
        except Exception as error:
            self._mistaken("while a request was processed", error)
            await context.abort(grpc.StatusCode.INTERNAL, "a mistake of the picker's own")
        finally:
            self.streams.discard(task)


class _Stream:
    def __init__(self, context: Any, plane: Plane, site: Site, options: Options) -> None:
        self._context = context
        self._turn = Turn(site, plane, options, self._tell)
        self._told: asyncio.Future[None] | None = None  # while the turn waits
        self._flushing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        turn, reading, eof = self._turn, self._context.read, aio.EOF
        try:
            while True:
                data = await reading()
                if data is eof:
                    return
                message = read(data)
                if message is None:
                    continue
                turn.feed(message)
                while turn.waits:
                    self._told = asyncio.get_running_loop().create_future()
                    await self._told
                    self._told = None
                if turn.answers:
                    await self._flush()
                if turn.over:
                    return
        finally:
            turn.ended()

    async def _flush(self) -> None:
        answers, self._turn.answers = self._turn.answers, []
        writing = self._context.write
        for answer in answers:
            await writing(write(answer))

    def _tell(self) -> None:
        """There is something to tell, and the proxy may not have asked."""
        told = self._told
        if told is not None:
            if not told.done():
                told.set_result(None)
        elif self._turn.answers:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
