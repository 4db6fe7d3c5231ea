"""An answer's body on its way to the client: usage is read, what nobody asked for taken out, names are put back."""

from collections.abc import Callable

from msgspec import Struct

from headgate.exchange.answer import AnswerHead
from headgate.exchange.arrival import Job
from headgate.exchange.meter import Hider, Reader
from headgate.exchange.record import Record
from headgate.exchange.restore import Restorer
from headgate.exchange.usage import read_usage


class Passage(Struct, frozen=True, eq=False):
    """Each piece goes through `feed`, which says what may be sent now; `end` gives the rest.

    `keeps_length`: what comes out is what went in.
    """

    feed: Callable[[bytes], bytes]
    keeps_length: bool
    _meter: Reader | Hider | None
    _restorer: Restorer | None

    def end(self) -> bytes:
        rest = b"" if self._meter is None else self._meter.end()
        return rest if self._restorer is None else self._restorer.feed(rest) + self._restorer.end()

    def account(self, record: Record) -> None:
        """What is known so far."""
        meter = self._meter
        if meter is None:
            return
        if record.streamed:
            record.chunks = meter.pieces
        if (usage := meter.usage) is not None:
            record.account(usage)


def passage(head: AnswerHead, job: Job, record: Record) -> Passage | None:
    """None where the body is neither read nor changed."""
    meter: Reader | Hider | None = None
    if _counts(head, job):
        meter = Hider() if job.hides and head.streamed else Reader(lines=head.streamed)
    if record.target == record.model or not head.readable:
        return None if meter is None else Passage(meter.feed, isinstance(meter, Reader), meter, None)
    restorer = Restorer(record.target, record.model, lines=head.streamed)
    if meter is None:
        return Passage(restorer.feed, False, None, restorer)
    read, restore = meter.feed, restorer.feed
    return Passage(lambda data: restore(read(data)), False, meter, restorer)


def pass_whole(body: bytes, head: AnswerHead, job: Job, record: Record) -> bytes:
    """What becomes of a body that is here, all of it; its usage goes into the record."""
    if not head.streamed and record.target == record.model:
        if head.status == 200 and job.way.counted and head.readable and (usage := read_usage(body)) is not None:
            record.account(usage)
        return body
    through = passage(head, job, record)
    if through is None:
        return body
    body = through.feed(body) + through.end()
    through.account(record)
    return body


def _counts(head: AnswerHead, job: Job) -> bool:
    """Whether to look for usage. Not in errors: they repeat what clients wrote."""
    return head.status == 200 and head.readable and job.way.counted
