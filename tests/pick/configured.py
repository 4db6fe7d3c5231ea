"""Pools that pick as an EndpointPickerConfig says."""

from pools import endpoint

from headgate.api import Text, load
from headgate.fleet.endpoint import Load
from headgate.fleet.ledger import Ledger
from headgate.fleet.prefix import PrefixIndex
from headgate.pick.choose import choose
from headgate.pick.configure import configure
from headgate.pick.decision import Ask
from headgate.pick.profile import Profile
from headgate.pick.python import Functions, none_here
from headgate.pick.standing import Standing

FRESH = Load(waiting=0, running=0, kv_usage=0.0, at=0.0)


def profile(plugins: str, more: str = "", functions: Functions = none_here) -> Profile:
    """`plugins` as YAML in flow style, one a line."""
    listed = "".join(f"- {line.strip()}\n" for line in plugins.strip().splitlines())
    text = f"apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n{listed}{more}"
    snapshot, problems = load([Text("in.yaml", text)])
    assert not [one for one in problems if one.severity == "error"], problems
    return configure(snapshot.picker_configs[0].picking, functions)


def pool(loads, labels=(), sent=(), index=None, tokens=()):
    ledger = Ledger()
    names = "abcdefgh"[: len(loads)]
    for name, count in zip(names, sent, strict=False):
        ledger.counts[name] = count
    for name, count in zip(names, tokens, strict=False):
        ledger.tokens.add(name, count)
    each = [endpoint(name, labels=dict(labels[at]) if at < len(labels) else {}) for at, name in enumerate(names)]
    return Standing("p", each, dict(zip(names, loads, strict=True)), ledger, PrefixIndex() if index is None else index)


def scores(plugin, loads, ask=None, **more):
    """What the one scorer of a profile gives each endpoint."""
    decision = choose(ask or Ask("m"), pool(loads, **more), profile(plugin), lambda: 0.0)
    (term,) = decision.terms
    return [round(score, 6) for score in term.scores]


def left(plugin, loads=None, labels=(), ask=None, dice=lambda: 0.0, **more):
    """The endpoints that a filter leaves."""
    loads = loads if loads is not None else [FRESH] * len(labels)
    decision = choose(ask or Ask("m"), pool(loads, labels, **more), profile(plugin), dice)
    return "".join(one.name for one in decision.candidates)
