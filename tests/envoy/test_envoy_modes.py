"""Each way in which a proxy can send bodies, through a real Envoy."""

import json

import pytest
from rig import eventually
from rig_envoy import EnvoyRig, run
from wire import CHAT, GET, echo, post

MODES = ("FULL_DUPLEX_STREAMED", "BUFFERED", "STREAMED", "NONE")


@pytest.mark.parametrize("mode", MODES)
def test_a_request_goes_where_the_picker_says(mode: str) -> None:
    async def scenario(rig: EnvoyRig) -> None:
        first, second = await rig.backend(echo), await rig.backend(echo)
        await rig.open(request=mode, response=mode)
        for _ in range(3):
            reply = await rig.ask(CHAT)
            assert (reply.status, reply.body) == (200, b'POST /v1/chat/completions HTTP/1.1\n{"model":"m"}')
        assert (len(first.requests), len(second.requests)) == (3, 0)
        reply = await rig.ask(GET)
        assert (reply.status, reply.body) == (200, b"GET /a HTTP/1.1\n")
        big = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 300_000}]}).encode()
        reply = await rig.ask(post(big, extra=b"content-type: application/json\r\n"))
        assert (reply.status, len(reply.body)) == (200, len(big) + 35)
        await eventually(lambda: len(rig.records) == 5)
        assert [record.status for record in rig.records] == [200] * 5

    run(scenario)
