"""What the ledger counts of a request besides that it is under way: its tokens, and who helps with it."""

from msgspec import Struct

from headgate.exchange.events import Forward, Helper
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.wants import Burden


class Engaged(Struct):
    """Mutable: what of it still counts, at the endpoint that it was sent to and at its helpers."""

    _ledger: Ledger
    _endpoint: str
    _burden: Burden | None
    _helpers: tuple[Helper, ...]

    def answered(self) -> None:
        """The first token is here: the prompt is done with, and so are those who helped."""
        burden = self._burden
        if burden is not None:
            self._ledger.tokens.remove(self._endpoint, burden.prompt)
            self._burden = Burden(0, burden.output)
        for one in self._helpers:
            self._ledger.give(one.endpoint)
            if one.burden is not None:
                self._ledger.tokens.remove(one.endpoint, one.burden.prompt)
        self._helpers = ()

    def over(self) -> None:
        """It has ended, in whatever way."""
        self.answered()
        if self._burden is not None:
            self._ledger.tokens.remove(self._endpoint, self._burden.output)
            self._burden = None


def engage(command: Forward, ledger: Ledger, prefixes: PrefixIndex) -> Engaged:
    """It is sent: whoever prefills will know the prompt."""
    name, burden = command.endpoint.name, command.burden
    if burden is not None:
        ledger.tokens.add(name, burden.prompt + burden.output)
    for one in command.helpers:
        ledger.take(one.endpoint)
        if one.burden is not None:
            ledger.tokens.add(one.endpoint, one.burden.prompt)
        if one.prefills:
            prefixes.record(command.rungs, one.endpoint)
    return Engaged(ledger, name, burden, command.helpers)
