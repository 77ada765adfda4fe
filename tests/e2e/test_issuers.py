"""Several push APIs on one MariaDB: no two make ids under one number, whatever is done to them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from ops.apps import Secrets
from ops.cluster.servers import MariaServer
from push_core.ids import issuer_of
from tests.support.maria import Tables, connect
from tests.support.programs import Programs, Running, make_app

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TTL_S = 2.0


@pytest.fixture
async def programs(tmp_path: Path, maria_server: MariaServer) -> AsyncIterator[Programs]:
    """No Redis and no broker are there: accepting needs neither."""
    tables = await asyncio.to_thread(Tables, maria_server, f"issuers_{uuid4().hex[:8]}")
    programs = Programs(
        tmp_path,
        {
            "TACO_STORES_MESSAGES": tables.dsn,
            "TACO_STORES_DEVICES": tables.dsn,
            "TACO_STORES_PRESENCE": "redis://127.0.0.1:1/0",
            "TACO_STORES_QUEUES": "amqp://127.0.0.1:1/",
            "TACO_STORES_CLUSTER_KEY": "a key",
            "TACO_API_ISSUER_TTL_S": str(TTL_S),
            "TACO_API_ISSUER_RENEW_S": "0.3",
        },
    )
    yield programs
    await programs.kill_all()


class Caller:
    """Pushes through one API; `made` are the ids of what was accepted."""

    def __init__(self, api: Running, secrets: Secrets) -> None:
        self._http = httpx.AsyncClient(
            base_url=api.url, headers={"Authorization": f"Bearer {secrets.key}"}, timeout=30.0
        )
        self.made: list[int] = []

    async def push(self, count: int) -> int:
        """In one call; the status."""
        messages = [{"target": {"device": f"d-{number}"}, "title": "T"} for number in range(count)]
        answer = await self._http.post("/v1/messages:batch", json={"messages": messages})
        if answer.status_code in (200, 202):
            self.made += [int(result["id"]) for result in answer.json()["results"] if "id" in result]
        return answer.status_code

    async def until_accepted(self) -> None:
        async with asyncio.timeout(60):
            while await self.push(1) != 202:
                await asyncio.sleep(0.05)

    @property
    def numbers(self) -> set[int]:
        return {issuer_of(made) for made in self.made}

    async def close(self) -> None:
        await self._http.aclose()


async def test_three_apis_that_start_together_have_a_number_each(programs: Programs) -> None:
    secrets = await make_app(programs)
    begun = await asyncio.gather(*(programs.begin("api", "--grpc-port", "-1") for _ in range(3)))
    callers = [Caller(await api.serves(), secrets) for api in begun]
    for _ in range(5):
        await asyncio.gather(*(caller.push(100) for caller in callers))
    numbers = [caller.numbers for caller in callers]
    made = [made for caller in callers for made in caller.made]
    for caller in callers:
        await caller.close()
    assert all(len(each) == 1 for each in numbers)
    assert len(set.union(*numbers)) == 3
    assert len(set(made)) == len(made) == 1_500
    for api in begun:
        assert await api.terminated() == 0


def hold_all_numbers_but(dsn: str, mine: int) -> None:
    """As if as many processes as there are numbers were running."""
    with connect(dsn) as admin, admin.cursor() as cursor:
        cursor.execute("UPDATE issuer_leases SET holder = 'another', held_until = 1 << 60 WHERE issuer <> %s", [mine])


async def test_an_api_that_was_held_beyond_its_lease_makes_no_id_under_a_number_that_is_anothers_now(
    programs: Programs,
) -> None:
    secrets = await make_app(programs)
    held = await programs.start("api", "--grpc-port", "-1")
    first = Caller(held, secrets)
    await first.until_accepted()
    await first.push(100)
    (number,) = first.numbers
    await asyncio.to_thread(hold_all_numbers_but, programs.env["TACO_STORES_MESSAGES"], number)
    os.kill(held.process.pid, signal.SIGSTOP)
    second = Caller(await programs.start("api", "--grpc-port", "-1"), secrets)
    await second.until_accepted()  # once the first one's lease has run out: no other number is free
    assert second.numbers == {number}
    # Its request is in the socket when the process wakes, before it can have heard of anything.
    waking = asyncio.create_task(first.push(100))
    busy = [asyncio.create_task(second.push(100)) for _ in range(10)]
    await asyncio.sleep(0.1)
    os.kill(held.process.pid, signal.SIGCONT)
    assert await waking == 503
    assert await first.push(1) == 503
    assert set(await asyncio.gather(*busy)) == {202}
    made = first.made + second.made
    assert len(set(made)) == len(made)
    await held.until_logged("issuer lease lost")
    for caller in (first, second):
        await caller.close()
    for program in programs.running:
        assert await program.terminated() == 0
