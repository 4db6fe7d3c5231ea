"""A CORS filter as Envoy's CorsPolicy."""

import re

from headgate.envoy.render.settings import Data, typed
from headgate.plan.plan import Cors

FILTER = "envoy.filters.http.cors"


def speaks_for_all(cors: Cors | None) -> bool:
    """Whether `*` stands for what was asked for: with credentials it does, and Envoy would send the star itself."""
    return cors is not None and cors.credentials and "*" in (*cors.methods, *cors.headers, *cors.exposed)


def policy(cors: Cors) -> Data:
    found = typed(
        "extensions.filters.http.cors.v3.CorsPolicy",
        allow_origin_string_match=[_origin(origin) for origin in cors.origins],
        allow_credentials=cors.credentials,
        max_age=str(cors.max_age_s),
        forward_not_matching_preflights=False,
    )
    for name, values in (
        ("allow_methods", cors.methods),
        ("allow_headers", cors.headers),
        ("expose_headers", cors.exposed),
    ):
        if values:
            found[name] = ", ".join(values)
    return found


def _origin(origin: str) -> Data:
    """A wildcard stands for any labels to its left."""
    if origin == "*":
        return {"safe_regex": {"regex": ".*"}}
    before, wildcard, after = origin.partition("*")
    if not wildcard:
        return {"exact": origin, "ignore_case": True}
    return {"safe_regex": {"regex": f"(?i){re.escape(before)}[^/@]+{re.escape(after)}"}}
