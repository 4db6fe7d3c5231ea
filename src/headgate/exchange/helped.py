"""Who else works on a request: told to the endpoint that decodes, in the headers that its sidecar reads."""

from headgate.exchange.events import Helper
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.decision import Ask, Decision
from headgate.pick.profile import Profile
from headgate.pick.stages import Stages
from headgate.pick.wants import burden

_PREFILLER, _ENCODER = b"x-prefiller-host-port", b"x-encoder-hosts-ports"

NO_HELPERS: tuple[Helper, ...] = ()


def helped(
    head: bytes, decision: Decision, profile: Profile, ask: Ask, index: PrefixIndex
) -> tuple[bytes, tuple[Helper, ...]]:
    """The head with `x-prefiller-host-port` and `x-encoder-hosts-ports`, and whom that names.

    A stage that would be where the request is sent anyway is no stage: nothing would be moved.
    """
    stages, estimate = profile.handler, None if profile.wants is None else profile.wants.estimate
    if not isinstance(stages, Stages):  # the profile is another one since
        return head, ()
    lines, helpers = b"", []
    for name, header in ((stages.prefill, _PREFILLER), (stages.encode, _ENCODER)):
        stage = decision.of(name)
        if stage is None or stage is decision or stage.endpoint is None or stage.endpoint == decision.endpoint:
            continue
        prefills = name == stages.prefill
        load = None if estimate is None or not prefills else burden(ask, stage.endpoint.name, index, estimate)
        lines += b"%b: %b\r\n" % (header, stage.endpoint.hostport.encode("latin-1"))
        helpers.append(Helper(stage.endpoint.name, load, prefills))
    return (head[:-2] + lines + b"\r\n" if lines else head), tuple(helpers)


def alone(head: bytes) -> bytes:
    """The head without those: a copy for another pool has nothing to do with who helps here."""
    return b"\r\n".join([line for line in head.split(b"\r\n") if not line.startswith((_PREFILLER, _ENCODER))])
