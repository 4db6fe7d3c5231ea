"""The account of every request: what its client saw, what the gateway's log says, what the endpoints noted, and whether
the three agree.
"""

import json
from collections import Counter
from time import monotonic

from chaos.tokens import number_of, token

_SETTLE_S = 15.0  # after a request has ended, until it is judged: by then everybody has said what there is to say
_TRIES = 6  # endpoints may see a request so often: three tries, each repeated where a kept connection was closed
_KEPT = 50  # violations that are told in full


class Entry:
    """One request. `outcome` is what its client saw:

    answered   a whole answer of an endpoint
    refused    a refusal of the gateway, with its reason
    broken     an answer that visibly ends too early: by its framing, or by an error event at the end of a stream
    cancelled  the client left
    behind     it stood in a pipeline behind an answer that ended the connection
    closed     the connection was closed without an answer, which only a listener that is being removed may do
    lost       no answer, and nothing that would explain it
    """

    __slots__ = ("done", "ended_at", "got", "kind", "last", "logged", "number", "outcome", "status", "whole")

    def __init__(self, number: int) -> None:
        self.number = number
        self.kind = ""
        self.outcome = ""
        self.status = 0
        self.whole = False  # all of it was sent
        self.ended_at = 0.0
        self.got = 0  # endpoints that read it
        self.last = 0  # endpoints that were about to give the end of a right answer
        self.done: list[int] = []  # statuses of right answers that endpoints have given in full
        self.logged: list[tuple[int, str]] = []  # status and error


class Account:
    """Entries are kept until they are judged, so that a run may last for days."""

    def __init__(self) -> None:
        self.issued = 0
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.violations: list[str] = []
        self.violated = 0
        self.log_lines = 0
        self.malformed = 0  # refused
        self.unnamed_lines = 0  # of requests whose id the gateway made, because they are none
        self._open: dict[int, Entry] = {}

    # What happens.

    def issue(self) -> Entry:
        self.issued += 1
        entry = self._open[self.issued] = Entry(self.issued)
        return entry

    def end(self, entry: Entry, outcome: str, status: int = 0) -> None:
        """What its client saw in the end."""
        entry.outcome, entry.status, entry.ended_at = outcome, status, monotonic()
        self.outcomes[outcome] += 1
        self.kinds[entry.kind] += 1
        self.malformed += entry.kind == "malformed" and outcome == "refused"
        if status:
            self.statuses[f"{outcome} {status}"] += 1
        if outcome == "lost":
            self.violate(f"{token(entry.number)} ({entry.kind}) was lost: sent whole, never answered")

    def violate(self, text: str) -> None:
        self.violated += 1
        if len(self.violations) < _KEPT:
            self.violations.append(text)

    def heard_of_gateway(self, line: str) -> None:
        """A line of the access log."""
        self.log_lines += 1
        said = json.loads(line)
        number = number_of(said["id"])
        if number is None:
            self.unnamed_lines += 1
            return
        entry = self._open.get(number)
        if entry is None:
            self.violate(f"{said['id']} is in the access log although it was settled long ago, or never sent: {line}")
        else:
            entry.logged.append((said["status"], said["error"]))

    def heard_of_endpoint(self, line: str) -> None:
        """A line of a journal."""
        word, _, rest = line.partition(" ")
        if word == "odd":
            self.violate(f"an endpoint was sent what no gateway may send: {rest}")
        elif word in ("got", "last", "done"):
            name, _, status = rest.partition(" ")
            number = number_of(name)
            if number is None:
                return  # of the gateway's own
            entry = self._open.get(number)
            if entry is None:
                self.violate(f"{name} came to an endpoint long after it was settled: {line}")
            elif word == "got":
                entry.got += 1
            elif word == "last":
                entry.last += 1
            else:
                entry.done.append(int(status))

    # The verdict.

    def settle(self, *, all_of_them: bool = False) -> None:
        """Judge the requests that have ended a while ago."""
        before = monotonic() - (0 if all_of_them else _SETTLE_S)
        for entry in list(self._open.values()):
            if entry.outcome and entry.ended_at <= before:
                del self._open[entry.number]
                for fault in faults(entry):
                    self.violate(f"{token(entry.number)} ({entry.kind}, {entry.outcome} {entry.status}): {fault}")
            elif all_of_them:
                self.violate(f"{token(entry.number)} ({entry.kind}) never ended")


def faults(entry: Entry) -> list[str]:
    """What of the account of one request does not agree."""
    found = []
    statuses = [status for status, _ in entry.logged]
    successes = entry.done.count(200)
    timed_out = any("time" in error for _, error in entry.logged)
    if len(statuses) > 1:
        found.append(f"the access log has it {len(statuses)} times: {entry.logged}")
    if entry.outcome in ("answered", "refused", "broken") and entry.kind != "malformed":
        if statuses[:1] != [entry.status]:
            found.append(f"the access log says {entry.logged or 'nothing'}")
        elif entry.outcome != "answered" and not entry.logged[0][1]:
            found.append("the access log does not say why")
    if successes > 1:
        found.append(f"{successes} endpoints have answered it")
    if entry.outcome == "answered" and not entry.last and entry.kind != "list":
        found.append("no endpoint has answered it in full, and yet it looks whole")
    if entry.outcome in ("refused", "broken") and successes and not timed_out:
        found.append(f"an endpoint has answered it in full, and that was lost: {entry.logged}")
    if entry.kind in ("web post", "flap") and entry.got > 1:
        found.append(f"{entry.got} endpoints were asked to do what must not be done twice")
    if entry.got > _TRIES:
        found.append(f"{entry.got} endpoints were asked")
    return found
