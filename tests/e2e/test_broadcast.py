"""A live broadcast through all programs, from the terminal: to who is subscribed now, counted, and ended."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process

import pytest

from bench.taco_process import command
from tests.e2e.conftest import Start
from tests.support.terminal import taco as run_taco

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def listen(device: str, *options: str) -> Process:
    """A device that is online."""
    listener = await asyncio.create_subprocess_exec(
        *command("listen", device, "--count", "1", "--json", *options), stdout=PIPE, stderr=PIPE
    )
    assert listener.stdout is not None
    while "online" not in (line := (await listener.stdout.readline()).decode()):
        assert line, "listen ended"
    return listener


async def shown(listener: Process) -> str:
    """The id of the push that it ended with."""
    out, err = await listener.communicate()
    assert listener.returncode == 0, err
    return str(next(value["push"] for value in map(json.loads, out.decode().splitlines()) if "push" in value)["id"])


async def test_a_topic_is_heard_by_who_is_subscribed_and_the_message_says_by_how_many(start: Start) -> None:
    data = ("--data", str((await start()).data))
    readers = [
        await listen("phone-1", "--topic", "city-021", *data),
        await listen("phone-2", "--topic", "city-021", *data),
    ]
    other = await listen("phone-3", *data)
    refused = await run_taco("push", "--topic", "city-021", "--ttl", "60", "-t", "x", "--json", *data)
    assert refused.status != 0
    assert "ttl 0" in refused.err
    sent = (await run_taco("push", "--topic", "city-021", "-t", "Rain", "--json", *data)).json()["id"]
    assert [await shown(reader) for reader in readers] == [sent, sent]
    async with asyncio.timeout(30):
        while (view := (await run_taco("message", sent, "--json", *data)).json())["counts"] != {"delivered": 2}:
            pass
    assert (view["state"], view["deliveries"]) == ("delivered", [])
    to_all = (await run_taco("push", "--all", "-t", "Everybody", "--json", *data)).json()["id"]
    assert await shown(other) == to_all  # and nothing of the topic before it
