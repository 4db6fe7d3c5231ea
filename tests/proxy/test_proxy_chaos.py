"""Everything at once: clients and servers that do what they like, while the pool and the plan change."""

import asyncio
import contextlib
import random

import pytest
from rig import Rig, run
from wire import SSE, Request, Server, chunk, post

from headgate.proxy.plane import Bounds

CLIENTS = 40
REQUESTS = 12


class Moody:
    """A server that answers each request with what it was asked, or fails in one of many ways."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    async def answer(self, request: Request) -> None:
        dice = self.dice
        said = request.headers.get("x-said", "").encode()
        await asyncio.sleep(dice.choice([0, 0, 0, 0.001, 0.01]))
        mood = dice.random()
        if mood < 0.35:
            await request.reply(said)
        elif mood < 0.6:
            raw = SSE + b"".join(chunk(b"data: %b\n\n" % said) for _ in range(5)) + b"0\r\n\r\n"
            place = 0
            while place < len(raw):
                step = dice.randrange(1, 200)
                await request.write(raw[place : place + step])
                place += step
                await asyncio.sleep(0)
        elif mood < 0.7:
            await request.write(b"HTTP/1.1 200 OK\r\n\r\n" + said)
            request.close()
        elif mood < 0.75:
            await request.write(SSE + chunk(b"data: %b\n\n" % said))
            request.reset()
        elif mood < 0.8:
            await request.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nnot")
        elif mood < 0.85:
            await request.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + said)
            request.close()
        elif mood < 0.9:
            request.reset()
        elif mood < 0.95:
            await request.write(b"\x00garbage\r\n\r\n")
        else:
            await asyncio.Event().wait()


async def talk(rig: Rig, dice: random.Random, number: int) -> int:
    """One client's life: it asks, in whatever pieces, and may leave at any moment. How many whole answers it got."""
    got = 0
    client = await rig.client()
    for count in range(REQUESTS):
        said = b"c%d-%d" % (number, count)
        raw = post(b'{"model":"m"}', extra=b"content-type: application/json\r\nx-said: %b\r\n" % said)
        batch = raw * dice.choice([1, 1, 1, 3])
        for place in range(0, len(batch), 150):
            await client.send(batch[place : place + 150])
            if dice.random() < 0.1:
                await asyncio.sleep(0)
        if dice.random() < 0.15:
            await asyncio.sleep(dice.choice([0, 0.001, 0.02]))
            (client.reset if dice.random() < 0.5 else client.writer.close)()
            client = await rig.client()
            continue
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(len(batch) // len(raw)):
                reply = await client.answer()
                assert reply.status in (200, 404, 502, 503, 504), reply.status
                if reply.status in (502, 503, 504):
                    assert reply.error["message"]
                elif reply.status == 200 and reply.whole and b"endpoint_failed" not in reply.body:
                    assert said in reply.body, "an answer to somebody else's question"
                    got += 1
                if not reply.whole or reply.headers.get("connection") == "close":
                    break
            else:
                continue
        await client.close()
        client = await rig.client()
    return got


@pytest.mark.parametrize("seed", range(3))
def test_whatever_everybody_does_answers_stay_apart_and_nothing_is_left(seed):
    dice = random.Random(seed)

    async def weather(rig: Rig, server: Server) -> None:
        port = server.port
        while True:
            await asyncio.sleep(0.03)
            change = dice.randrange(4)
            if change == 0:
                rig.see(ready=False)
                rig.plane.wake("p")
                await asyncio.sleep(0.01)
                rig.see()
                rig.plane.wake("p")
            elif change == 1:
                rig.listening.site = rig.site()
            elif change == 2:
                await server.stop()
                await asyncio.sleep(0.01)
                await server.start(port)

    async def scenario(rig: Rig):
        servers = [await rig.backend(Moody(dice).answer) for _ in range(4)]
        changing = asyncio.create_task(weather(rig, servers[0]))
        got = await asyncio.gather(*(talk(rig, dice, number) for number in range(CLIENTS)))
        changing.cancel()
        assert sum(got) > CLIENTS * REQUESTS / 4, "there were answers, too"

    run(scenario, timeout_s=1.0, bounds=Bounds(silence_s=2.0, linger_s=0.2))
