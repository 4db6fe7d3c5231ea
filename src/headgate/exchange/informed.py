"""`informed`: an Ask with what the plugins of the pool's profile want to know; `stamps`: what they tell the client."""

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headgate.exchange.events import Headers
from headgate.exchange.request import RequestHead
from headgate.pick.affinity import token
from headgate.pick.decision import Ask, Decision
from headgate.pick.wants import Wants


class _Most(Struct, gc=False):
    """How many tokens the client takes: as OpenAI's three interfaces call it."""

    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


_MEDIA = (b'"image_url"', b'"video_url"', b'"input_audio"')  # as OpenAI's chat names the parts of a message
_decode = msgspec.json.Decoder(_Most).decode


def informed(ask: Ask, wants: Wants, head: RequestHead, body: bytes, now: float) -> Ask:
    """Costs 1 µs, and another walk through the body where tokens of answers are estimated."""
    headers = []
    for name in wants.headers:
        value = head.told(name.encode("latin-1"))
        if value:
            headers.append((name, value.decode("latin-1").strip()))
    counted = wants.estimate is not None and wants.estimate.output
    most, media = _most(body) if counted else None, wants.media and any(kind in body for kind in _MEDIA)
    return replace(ask, headers=tuple(headers), most_output=most, at=now, media=media)


def _most(body: bytes) -> int | None:
    try:
        most = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # the server will say what is wrong with it
    given = [one for one in (most.max_tokens, most.max_completion_tokens, most.max_output_tokens) if one is not None]
    return max(0, min(given)) if given else None


def stamps(wants: Wants, decision: Decision) -> Headers:
    """Headers of the answer: the tokens of endpoints that were chosen, for the client to bring them back."""
    found = []
    for owner, (header, profile) in wants.stamps:
        of_profile = decision.of(profile) if decision.of(owner) is not None else None
        if of_profile is not None and of_profile.endpoint is not None:
            found.append((header.encode("latin-1"), token(of_profile.endpoint.name).encode()))
    return found
