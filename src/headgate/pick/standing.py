"""A pool at one moment, as far as choosing goes: made anew when its endpoints or their loads change."""

from collections.abc import Callable, Mapping, Sequence

from headgate.fleet.endpoint import Endpoint, Load
from headgate.fleet.latency import Latency
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.fleet.slow_start import Young
from headgate.pick.decision import Ask
from headgate.pick.filters import SELDOM_FILTERS, STEADY_FILTERS
from headgate.pick.profile import Profile
from headgate.pick.room import Room
from headgate.pick.survey import Field, sifted, spared, survey

_UNKNOWN = Load()
_FIELDS_KEPT = 256  # the names of models come from clients: what is remembered for them is bounded
_REMEMBERED = STEADY_FILTERS | SELDOM_FILTERS
_ALL_IN: frozenset[str] = frozenset()


class Standing:
    """The endpoints of a pool with their loads, and the live ledger, prefix index and latencies.

    Costs 1 µs for 10 endpoints, and another 30 µs at the first request for each model: make it when a request needs
    it, not at every scrape.
    """

    __slots__ = ("_fields", "_young", "endpoints", "index", "latency", "ledger", "loads", "pool", "room")

    def __init__(
        self,
        pool: str,
        endpoints: Sequence[Endpoint],
        loads: Mapping[str, Load],
        ledger: Ledger,
        index: PrefixIndex,
        young: Sequence[Young] = (),
        room: Room | None = None,
        latency: Latency | None = None,
    ) -> None:
        """`loads` is by endpoint name; an endpoint that is not there has not reported yet.

        The `young` ones are candidates for a share of the requests only, unless nobody else is left. `room` bounds the
        requests in flight. `latency` is what a profile that predicts goes by; without one it knows nothing yet.
        """
        self.pool = pool
        self.endpoints = tuple(endpoints)
        self.loads = tuple([loads.get(endpoint.name, _UNKNOWN) for endpoint in endpoints])
        self.ledger = ledger
        self.index = index
        self.room = room
        self.latency = latency
        self._young = young
        self._fields: dict[object, Field] = {}

    def beside(self) -> "Standing":
        """The same moment, to be chosen from by another profile too: what is remembered is each one's own.

        Those that have just begun to serve are as good as the others there.
        """
        loads = {endpoint.name: load for endpoint, load in zip(self.endpoints, self.loads, strict=True)}
        return Standing(self.pool, self.endpoints, loads, self.ledger, self.index, room=self.room, latency=self.latency)

    def field(self, ask: Ask, profile: Profile, dice: Callable[[], float] = lambda: 1.0) -> Field:
        """What there is to choose from for this request; remembered where it depends on the model alone.

        `dice` is for filters that leave it to chance whether they filter: with 1.0 they do.
        """
        if profile.apart:
            return self._field_apart(ask, profile, dice)
        key: object = ask.model
        out = _ALL_IN
        if self._young:
            out = frozenset([one.name for one in self._young if not one.takes()])
            key = (ask.model, out)
        if ask.subset is None and not ask.exclude:
            known = self._fields.get(key)
            if known is not None and known.profile is profile:
                return known
        return self._survey(ask, profile, key, out)

    def _field_apart(self, ask: Ask, profile: Profile, dice: Callable[[], float]) -> Field:
        """The same where the request itself is looked at: what could be remembered is narrowed down for it.

        One of a set of profiles has its fields beside those of the others. Who has just begun to serve is spared last,
        for sieves may leave nobody else.
        """
        field = self.everybody(ask, profile)
        if field.then:
            field = sifted(field, ask, dice)
        if self._young:
            field = spared(field, frozenset([one.name for one in self._young if not one.takes()]), ask)
        return field

    def everybody(self, ask: Ask, profile: Profile) -> Field:
        """Who there is, whatever sieves leave of them for this request, and though they have just begun to serve."""
        key = (ask.model, profile.name)
        field = self._fields.get(key) if ask.subset is None and not ask.exclude else None
        if field is None or field.profile is not profile:
            field = self._survey(ask, profile, key, _ALL_IN)
        return field

    def _survey(self, ask: Ask, profile: Profile, key: object, out: frozenset[str]) -> Field:
        if profile.foresight is not None and self.latency is None:
            self.latency = Latency()
        known = self.ledger, self.index, self.latency
        field = survey(ask, profile, self.pool, self.endpoints, self.loads, *known, out)
        if ask.subset is None and not ask.exclude and _REMEMBERED.issuperset(profile.filters):
            if len(self._fields) >= _FIELDS_KEPT:
                self._fields.clear()
            self._fields[key] = field
        return field
