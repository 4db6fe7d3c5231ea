"""Parameters of the plugins that split a request into stages: prefill and decode, and the encoding of images."""

from typing import Annotated, Literal

import msgspec
from msgspec import Struct

Whole = Annotated[int, msgspec.Meta(ge=0)]
Order = Literal["decode-first", "prefill-first"]


class StageNames(Struct, frozen=True, omit_defaults=True):
    decode: str = ""
    prefill: str = ""
    encode: str = ""


class Disaggregation(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`profiles` and `deciders` are names; what follows them is how that was written before."""

    stage_order: Order = "decode-first"
    profiles: StageNames = StageNames()
    deciders: StageNames = StageNames()
    decode_profile: str = ""
    prefill_profile: str = ""
    encode_profile: str = ""
    prefill_decider_plugin_name: str = ""
    encode_decider_plugin_name: str = ""
    decider_plugin_name: str = ""
    prefix_plugin_type: str = ""
    prefix_plugin_name: str = ""
    primary_port: int = 0
    prefix_match_info_producer_name: str = ""


class PrefillDecode(Disaggregation, frozen=True, rename="camel", omit_defaults=True):
    """pd-profile-handler: the older one, which has a decider of its own."""

    decider_plugin_name: str = "prefix-based-pd-decider"


class PrefixDecider(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tokens; with 0 that are not cached, nothing is ever split."""

    non_cached_tokens: Whole = 0
    prompt_tokens: Whole = 0


class Staged(Struct, frozen=True):
    """The same, with the defaults: the profiles' names, and those of the deciders, "" for none."""

    profiles: StageNames
    deciders: StageNames
    prefill_first: bool = False


def staged(shape: Disaggregation) -> Staged:
    names, deciders = shape.profiles, shape.deciders
    return Staged(
        StageNames(
            names.decode or shape.decode_profile or "decode",
            names.prefill or shape.prefill_profile or "prefill",
            names.encode or shape.encode_profile or "encode",
        ),
        StageNames(
            prefill=deciders.prefill or shape.prefill_decider_plugin_name or shape.decider_plugin_name,
            encode=deciders.encode or shape.encode_decider_plugin_name,
        ),
        shape.stage_order == "prefill-first",
    )
