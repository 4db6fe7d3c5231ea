"""Plays one request through a picker's turn: messages in, answers out, no Envoy and no socket.

play = Process(pool())
head, *rest = play.request(body=…)      → what the proxy is told
"""

import json
from typing import Any

from playbook import Play, to
from rig import Rig

from headgate.envoy.heads import Heads
from headgate.envoy.messages import FULL_DUPLEX, About, Answer, Message, Modes, Piece, Proceed
from headgate.envoy.options import Options
from headgate.envoy.turn import Turn
from headgate.exchange.events import Headers
from headgate.exchange.record import Record
from headgate.exchange.site import Limits

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "gw.example", ":scheme": "http"}


def pairs(headers: dict[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


class Process:
    """One request. `modes` are those that the proxy says it has, None for one that says nothing."""

    def __init__(
        self,
        play: Play,
        *,
        options: Options | None = None,
        modes: Modes | None = Modes(FULL_DUPLEX, FULL_DUPLEX),  # noqa: B008 - it is frozen
        rig: Rig | None = None,
        wait_s: float = 0.0,
    ) -> None:
        self.play, self.modes = play, modes
        play.site.limits = Limits(tries=1, retry_codes=frozenset(), wait_s=wait_s, lists_models=False, needs_model=True)
        self.plane = (rig or Rig()).plane
        self.plane.ledger, self.plane.prefixes = play.ledger, play.index
        self.records: list[Record] = []
        self.plane.done = self.records.append
        self.turn = Turn(play.site, self.plane, options or Options(), Heads())
        self.told = 0  # how often there was something to tell unasked
        self.turn.heard_by(self._told)

    def _told(self) -> None:
        self.told += 1

    def feed(
        self, phase: Any, headers: Headers | None = None, data: bytes = b"", *, end: bool = False, **about: Any
    ) -> list[Answer]:
        self.turn.feed(Message(phase, headers or [], data, end, About(**about)))
        return self.take()

    def take(self) -> list[Answer]:
        answers, self.turn.answers[:] = list(self.turn.answers), []
        return answers

    def head(self, *, end: bool = False, subset: frozenset[str] | None = None, **headers: str) -> list[Answer]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.feed(
            "request_headers",
            pairs({**HEAD, "content-type": "application/json", **named}),
            end=end,
            modes=self.modes,
            subset=subset,
        )

    def request(self, body: dict[str, Any] | bytes | None = None, **more: Any) -> list[Answer]:
        """A head and a whole body, in one piece."""
        data = body if isinstance(body, bytes) else json.dumps(CHAT if body is None else body).encode()
        told = self.head(**more)
        return told + self.feed("request_body", data=data, end=True)

    def answer(self, status: int = 200, *, end: bool = False, served: str = "", **headers: str) -> list[Answer]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = {"content-type": "application/json"}
        return self.feed("response_headers", pairs({":status": str(status), **kind, **named}), end=end, served=served)


def pool(*, endpoints: int = 3, **more: Any) -> Play:
    from playbook import serving

    return Play(to("llama"), llama=serving("m", endpoints=endpoints, **more))


def sets(answer: Answer) -> dict[str, str]:
    """Headers that an answer sets."""
    assert isinstance(answer, Proceed), answer
    assert len(dict(answer.mutation.set)) == len(answer.mutation.set)
    return {name.decode(): value.decode() for name, value in answer.mutation.set}


def removes(answer: Answer) -> set[str]:
    assert isinstance(answer, Proceed), answer
    return {name.decode() for name in answer.mutation.remove}


def body_of(answers: list[Answer]) -> bytes:
    """The pieces of a body, which must end once, at the end."""
    found = [answer for answer in answers if isinstance(answer, Piece)]
    assert [one.end for one in found] == [False] * (len(found) - 1) + [True]
    return b"".join(one.data for one in found)
