"""`in_stages`: who prefills a prompt and who decodes the answer, where these are not one (disagg-profile-handler)."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from headgate.fleet.endpoint import BYTES_PER_TOKEN, Endpoint
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.choose import choose
from headgate.pick.decision import Ask, Decision
from headgate.pick.draws import Dice
from headgate.pick.hold import hold
from headgate.pick.profile import Profile
from headgate.pick.standing import Standing


class Decider(Struct, frozen=True):
    """When a stage of its own is worth it: for prompts of at least `prompt` tokens, `uncached` of them not cached where
    they would be decoded; with `media` for those that have images or sound.
    """

    uncached: int = 0
    prompt: int = 0
    media: bool = False

    def wants(self, ask: Ask, decodes: Endpoint | None, index: PrefixIndex) -> bool:
        if self.media and not ask.media:
            return False
        tokens = ask.prompt_tokens
        if tokens < max(self.prompt, self.uncached):
            return False
        if not self.uncached or decodes is None:
            return True
        return tokens - index.match(ask.prefix).get(decodes.name, 0) // BYTES_PER_TOKEN >= self.uncached


class Stages(Struct, frozen=True):
    """The profile that they belong to chooses who decodes, `prefill` and `encode` who does the rest.

    A stage without a decider is not made; with `prefill_first` that of prefill always is, and before.
    """

    profiles: Mapping[str, Profile]  # but for that of decode
    prefill: str
    encode: str
    splits: Decider | None = None
    encodes: Decider | None = None
    prefill_first: bool = False


def in_stages(ask: Ask, standing: Standing, profile: Profile, stages: Stages, dice: Dice, held: str) -> Decision:
    """The decision for decode, with those of the other stages. One of those without an endpoint is left out."""
    prefill, encode = stages.profiles.get(stages.prefill), stages.profiles.get(stages.encode)
    before = choose(ask, standing, prefill, dice) if stages.prefill_first and prefill is not None else None
    if before is not None:
        ask = replace(ask, peer=before.endpoint)
    main = (hold(ask, standing, profile, held) if held else None) or choose(ask, standing, profile, dice)
    if main.endpoint is None:
        return main
    others = [] if before is None else [before]
    index = standing.index
    if encode is not None and stages.encodes is not None and stages.encodes.wants(ask, main.endpoint, index):
        others.append(choose(ask, standing, encode, dice))
    if prefill is not None and stages.splits is not None and stages.splits.wants(ask, main.endpoint, index):
        others.append(choose(replace(ask, peer=main.endpoint), standing, prefill, dice))
    return replace(main, stages=tuple(others)) if others else main
