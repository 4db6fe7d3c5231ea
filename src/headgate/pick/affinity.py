"""session-affinity-scorer and session-affinity-filter: requests of one session go to one endpoint.

Either the client brings back the token that an answer gave it, or it calls its session by a name, and which endpoint
that is at is remembered here.
"""

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from xxhash import xxh3_64_intdigest

from headgate.api.written.plugins import AgentIdentity, SessionAffinity, SessionId, SessionIdProducer, SessionSource
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.candidates import Candidates
from headgate.pick.decision import Ask, Decision
from headgate.pick.draws import Dice
from headgate.pick.scorers import Depths, Scores, Sent
from headgate.pick.wants import Part

_MOST = 65_536  # sessions; clients name them: what is kept for them is bounded
_DEFAULT_ID = SessionSource(header="x-session-id")

Find = Callable[[Ask, Candidates], str]  # the name of the endpoint where the request's session is, "" for none
Producers = Mapping[str, Any]  # parameters, by the plugin's name


class Sessions:
    """Which endpoint a session is at. Mutable. The least recently used are forgotten first, also when they last."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._seen: OrderedDict[int, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def find(self, session: str, now: float) -> str:
        """ "" where it is at none, or was last used too long ago."""
        endpoint, used = self._seen.get(_mark(session), ("", now))
        return endpoint if now - used <= self._ttl_s else ""

    def use(self, session: str, endpoint: str, candidates: Sequence[str], now: float) -> None:
        """A request of it was sent there. It moves only from an endpoint that is no candidate any more."""
        mark, at = _mark(session), self.find(session, now)
        if at and at != endpoint and at in candidates:
            return
        self._seen[mark] = endpoint, now
        self._seen.move_to_end(mark)
        while len(self._seen) > _MOST or now - next(iter(self._seen.values()))[1] > self._ttl_s:
            self._seen.popitem(last=False)


def _mark(session: str) -> int:
    return xxh3_64_intdigest(session.encode("utf-8", "replace"))


@lru_cache(maxsize=8192)
def token(endpoint: str) -> str:
    """What stands for an endpoint: its name in base64."""
    return b64encode(endpoint.encode()).decode()


def session_scorer(shape: SessionAffinity, producers: Producers) -> Part:
    """1 for the endpoint where the session is, else 0."""
    find, part = _strategy(shape, producers)

    def score(ask: Ask, among: Candidates, sent: Sent, depths: Depths) -> Scores:
        at = find(ask, among)
        return [float(name == at) for name in among.names] if at else among.zeros

    return Part(score, headers=part.headers, note=part.note, stamp=part.stamp)


def session_filter(shape: SessionAffinity, producers: Producers) -> Part:
    """The endpoint where the session is alone, as long as it is a candidate."""
    find, part = _strategy(shape, producers)

    def sift(ask: Ask, among: Candidates, dice: Dice) -> Sequence[bool]:
        at = find(ask, among)
        return [name == at for name in among.names] if at else (True,) * len(among.names)

    return Part(sift=sift, soft=True, headers=part.headers, note=part.note, stamp=part.stamp)


def _strategy(shape: SessionAffinity, producers: Producers) -> tuple[Find, Part]:
    """How a session is found, and what that needs besides."""
    if shape.strategy == "encoded_endpoint_header":
        header = shape.encoded_endpoint_header_config.header.lower()
        return _by_token(header), Part(headers=(header,), stamp=(header, shape.profile_name))
    config, profile = shape.session_id_config, shape.profile_name
    headers, read = _sources(config.sources or (_DEFAULT_ID,), producers)
    sessions = Sessions(config.eviction_ttl_seconds or SessionId().eviction_ttl_seconds)

    def find(ask: Ask, among: Candidates) -> str:
        session = read(ask)
        return sessions.find(session, ask.at) if session else ""

    def note(ask: Ask, decision: Decision, own: Decision, index: PrefixIndex, now: float) -> None:
        session, of_profile = read(ask), decision.of(profile)
        if session and of_profile is not None and of_profile.endpoint is not None:
            sessions.use(session, of_profile.endpoint.name, [one.name for one in of_profile.candidates], now)

    return find, Part(headers=headers, note=note)


def _by_token(header: str) -> Find:
    def find(ask: Ask, among: Candidates) -> str:
        given = ask.told(header)
        return next((name for name in among.names if token(name) == given), "") if given else ""

    return find


def _sources(sources: Sequence[SessionSource], producers: Producers) -> tuple[tuple[str, ...], Callable[[Ask], str]]:
    """The headers that are looked at, and what finds the session's name: the first that there is."""
    found: list[tuple[str, str]] = []  # header, and the cookie within
    for source in sources:
        if source.header:
            found.append((source.header.lower(), ""))
        elif source.attribute == AGENT_IDENTITY:
            agents = next((one for one in producers.values() if isinstance(one, AgentIdentity)), AgentIdentity())
            found += [(name.lower(), "") for name in (*agents.additional_session_headers, *AGENTS)]
        else:
            named: SessionIdProducer = producers[source.producer or "session-id-producer"]
            found.append((named.header_name.lower(), "") if named.header_name else ("cookie", named.cookie_name))

    def read(ask: Ask) -> str:
        for header, name in found:
            value = ask.told(header)
            if value and name:
                value = _cookie(value, name)
            if value:
                return value
        return ""

    return tuple([header for header, _ in found]), read


def _cookie(header: str, name: str) -> str:
    for pair in header.replace(", ", ";").split(";"):
        own, _, value = pair.strip().partition("=")
        if own == name:
            return value.strip()
    return ""


AGENT_IDENTITY = "agent-identity"
# The headers by which agents name their sessions, as the field's agent-identity knows them.
AGENTS = ("x-claude-code-session-id", "x-session-affinity", "session-id", "session_id")
