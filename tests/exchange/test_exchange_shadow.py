"""What a shadow policy sees of a request."""

from playbook import Play, serving, to

from headgate.exchange.events import Forward
from headgate.pick.profile import Profile
from headgate.pick.shadow import Shadow

CACHE = Profile("cache", (("kv-cache-utilization-scorer", 1.0),))


def test_a_request_is_seen_once_however_often_it_is_tried():
    play = Play(to("llama"), llama=serving("m", endpoints=3))
    shadow = play.views["llama"].shadow = Shadow(CACHE, 1.0, lambda: 0.0)
    assert isinstance(play.ask(model="m"), Forward)
    assert isinstance(play.fails("refused"), Forward)
    assert shadow.tally.requests == 1


def test_where_nobody_can_serve_there_is_nothing_to_compare_until_somebody_can():
    play = Play(to("llama"), llama=serving("m", endpoints=0))
    shadow = play.views["llama"].shadow = Shadow(CACHE, 1.0, lambda: 0.0)
    play.ask(model="m")
    assert shadow.tally.requests == 0
