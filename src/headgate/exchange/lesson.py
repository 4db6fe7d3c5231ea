"""What a request's end teaches about latencies, in pools that predict. Of what fails nothing is learned."""

from headgate.exchange.record import Record
from headgate.pick.decision import Ask, Decision
from headgate.pick.expectation import expect


def begin(record: Record, decision: Decision, ask: Ask) -> None:
    """It goes to the endpoint of this decision; what was expected of an earlier one is over."""
    let_go(record)
    record.expected = expect(decision, ask)


def let_go(record: Record) -> None:
    """The try that was under way is over, and teaches nothing."""
    if record.expected is not None:
        record.expected.drop()


def end(record: Record) -> None:
    """It has ended, and the record is complete."""
    expected = record.expected
    if expected is None:
        return
    if record.status != 200 or record.error or not record.answered_at:
        expected.drop()
        return
    took, since = record.ended_at - record.sent_at, record.ended_at - record.answered_at
    expected.ended(took, since, record.completion_tokens, streamed=record.streamed)
