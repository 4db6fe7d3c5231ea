"""The connections to endpoints, by address: kept for the next request, or made anew."""

import asyncio
from math import inf

from headgate.exchange.answer import AnswerHead
from headgate.fleet.endpoint import Endpoint
from headgate.proxy.connect import connect
from headgate.proxy.contexts import Trust, Untrusted
from headgate.proxy.heads import Heads
from headgate.proxy.outbox import Outbox
from headgate.proxy.sending import Key, Owner, Sending
from headgate.proxy.upstream import Upstream

_IDLE_S = 60.0
_IDLE_PER_ENDPOINT = 256


class Upstreams:
    """The connections of one event loop, by endpoint address.

    `trusts` are those that endpoints name (`Endpoint.tls`); the edge keeps them current.
    """

    def __init__(self, outbox: Outbox, connect_s: float = 3.0) -> None:
        """`connect_s`: how long a connection may take."""
        self.outbox = outbox
        self._connect_s = connect_s
        self.trusts: dict[str, Trust] = {}
        self._idle: dict[Key, list[Upstream]] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._now = 0.0
        self.heads = Heads[AnswerHead]()

    def send(
        self,
        owner: Owner,
        endpoint: Endpoint,
        head: bytes,
        body: bytes,
        no_body: bool,
        repeat: bool,
        hold: bool = False,
    ) -> Sending:
        """Send a request; the answer comes to `owner`.

        `no_body`: the answer has none whatever it says (HEAD). `repeat`: it may be sent twice. `hold`: a model server
        answers; a stream has not begun before its first byte, and an engine that died gives no answer.
        """
        key = (endpoint.address, endpoint.port, endpoint.tls)
        sending = Sending(key, self, head, body, no_body, repeat, hold, owner)
        idle = self._idle.get(key)
        while idle:
            upstream = idle.pop()
            if not upstream.transport.is_closing():
                upstream.begin(sending, reused=True)
                return sending
        self.connect(sending)
        return sending

    def connect(self, sending: Sending) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(sending))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, sending: Sending) -> None:
        address, port, tls = sending.key
        trust = self.trusts.get(tls)
        try:
            if tls and trust is None:
                raise Untrusted("what to know it by has just changed")
            async with asyncio.timeout(self._connect_s if self._connect_s < inf else None):
                upstream = await connect(lambda: Upstream(self, sending.key), address, port, trust)
        except Untrusted as error:
            sending.fail("untrusted", str(error))
        except TimeoutError:
            sending.fail("refused", f"no connection within {self._connect_s:g} s")
        except OSError as error:
            sending.fail("refused", error.strerror or str(error))
        except UnicodeError as error:  # of an address that is no host name
            sending.fail("refused", str(error))
        else:
            if upstream.transport.is_closing():
                sending.fail("reset", "the server closed the connection at once")
            elif sending.owner is None:
                self.keep(upstream)
            else:
                upstream.begin(sending, reused=False)

    def keep(self, upstream: "Upstream") -> None:
        """Take a connection back for the next request."""
        idle = self._idle.get(upstream.key)
        if idle is None:
            idle = self._idle[upstream.key] = []
        elif len(idle) >= _IDLE_PER_ENDPOINT:
            upstream.transport.abort()
            return
        upstream.idle_since = self._now
        idle.append(upstream)

    def drop(self, upstream: "Upstream") -> None:
        idle = self._idle.get(upstream.key)
        if idle is not None and upstream in idle:
            idle.remove(upstream)

    def sweep(self, now: float) -> None:
        """Close what has idled for long. The oldest stand first, since the newest are used first."""
        self._now = now
        for key, idle in list(self._idle.items()):
            while idle and idle[0].idle_since < now - _IDLE_S:
                idle.pop(0).transport.abort()
            if not idle:
                del self._idle[key]

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for idle in self._idle.values():
            for upstream in idle:
                upstream.transport.abort()
        self._idle.clear()
