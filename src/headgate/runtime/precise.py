"""Who is followed by KV events: the endpoints of pools whose picking wants it. Nothing runs where no pool does."""

from collections.abc import Callable, Iterator, Mapping

from msgspec import convert

from headgate.api.written.precise import Precise as Shape
from headgate.exchange.events import Forward
from headgate.fleet.endpoint import Endpoint
from headgate.fleet.held_blocks import HeldBlocks
from headgate.plan.plan import Plan
from headgate.runtime.client import Client
from headgate.runtime.exposition import Page
from headgate.runtime.fleet import Fleet
from headgate.runtime.kv_events import Follower
from headgate.runtime.kv_source import Missing, Where
from headgate.runtime.learner import Learner

_NOT_INSTALLED = "pyzmq is not installed: pip install -e '.[kv-events]' in Headgate's directory"
_SEVERAL = "that takes --workers 1"


class Precise:
    """`learn` is given a function that wants to hear of each request that is sent, or None. `say` is for people."""

    def __init__(
        self,
        fleet: Fleet,
        client: Client,
        learn: Callable[[Callable[[Forward], None] | None], None] | None,
        say: Callable[[str], None],
    ) -> None:
        """`learn` is None where it is other processes that serve."""
        self._fleet = fleet
        self._client = client
        self._learn = learn
        self._say = say
        self._why_not = "" if learn is not None else _SEVERAL
        self._told: set[str] = set()
        self._follower: Follower | None = None
        self._learner: Learner | None = None

    def watch(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> None:
        """Follow those of the endpoints, by name, that the plan wants to be followed."""
        wanted = {where.endpoint: where for where in self._wanted(plan, endpoints)}
        if wanted and self._follower is None and not self._why_not:
            self._begin()
        if self._follower is not None:
            self._follower.watch(wanted.values())
        notes = {name: self._why_not or self._note(name) for name in wanted}
        self._fleet.kv_events(notes)

    def _wanted(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> Iterator[Where]:
        for pool in plan.pools.values():
            if pool.picking is None or pool.picking.precise is None:
                continue
            shape = convert(dict(pool.picking.precise.parameters), Shape).kv_events_config
            ports = shape.pod_discovery_config
            members = [one for name, one in endpoints.items() if one.ready and pool.name in self._fleet.pools_of(name)]
            if members and self._why_not:
                self._warn(pool.name)
            for one in members:
                rank = int(one.name.rpartition("-rank-")[2].partition(":")[0] or 0)
                port = ports.socket_port + rank
                replay = ports.replay_socket_port + rank if ports.replay_socket_port else None
                yield Where(
                    one.name,
                    one.address,
                    one.mapped.get(port, port),
                    None if replay is None else one.mapped.get(replay, replay),
                    shape.topic_filter,
                )

    def _begin(self) -> None:
        held = HeldBlocks()
        try:
            self._follower = Follower(held, self._changed)
        except Missing:
            self._why_not = _NOT_INSTALLED
            return
        assert self._learn is not None
        self._fleet.prefixes.held = held
        self._learner = Learner(self._client, held, self._fleet.reported)
        self._learn(self._learner.sent)

    def _warn(self, pool: str) -> None:
        if pool not in self._told:
            self._told.add(pool)
            self._say(f"Pool {pool} is to go by KV events, but goes by what was sent where: {self._why_not}.")

    def _note(self, endpoint: str) -> str:
        return (self._follower.note(endpoint) if self._follower is not None else None) or ""

    def _changed(self, endpoint: str) -> None:
        if self._follower is not None and self._follower.note(endpoint) is not None:
            self._fleet.kv_event(endpoint, self._note(endpoint))

    def describe(self, page: Page) -> None:
        """Write its metrics, where there are any."""
        if self._follower is not None and self._learner is not None:
            self._follower.describe(page)
            self._learner.describe(page)

    async def stop(self) -> None:
        if self._learner is not None:
            await self._learner.stop()
        if self._follower is not None:
            self._follower.close()
