import asyncio
from dataclasses import replace

import httpx
import pytest

from push_api.app import PushApi, ZoneShards
from push_api.settings import ApiSettings
from push_core.adapters import Ports
from push_core.clock import Clock
from push_core.envelope import decode_batch
from push_core.queues.port import Source
from push_core.shards import ShardMap
from tests.push_api.conftest import client_of
from tests.push_api.fakes import away
from tests.push_api.refusals import good
from tests.support.hand_clock import HandClock


async def test_it_is_ready_from_start_to_stop(settings: ApiSettings, ports: Ports) -> None:
    api = PushApi(settings, ports)
    assert not is_ready(api)
    await api.start()
    assert is_ready(api)
    await api.stop(1.0)
    assert not is_ready(api)


def is_ready(api: PushApi) -> bool:
    return api.ready


async def test_with_the_store_away_it_starts_and_is_ready_when_the_store_is_back(
    settings: ApiSettings, ports: Ports
) -> None:
    ports.messages.replace(lease_issuer=away("the message store"))  # type: ignore[attr-defined]
    api = PushApi(settings, ports)
    await api.start()
    assert not is_ready(api)
    async with client_of(api, "demo.secret") as http:
        assert (await http.get("/healthz")).status_code == 200
        assert "no issuer number is held" in (await http.get("/readyz")).json()["error"]["message"]
        assert (await http.post("/v1/messages", json=good())).status_code == 503
        ports.messages.give_back()  # type: ignore[attr-defined]
        while not is_ready(api):
            await asyncio.sleep(0.01)
        assert (await http.post("/v1/messages", json=good())).status_code == 202
    await api.stop(1.0)


async def test_stopping_publishes_what_was_committed(settings: ApiSettings, ports: Ports) -> None:
    api = PushApi(settings, ports)
    await api.start()
    async with client_of(api, "demo.secret") as http:
        sent = (await http.post("/v1/messages:batch", json={"messages": [good()] * 300})).json()
    await api.stop(5.0)
    consumer = await ports.queues.consume([Source("push.shared.normal", prefetch=100)])
    published: list[str] = []
    while len(published) < 300:
        published += [str(envelope.id) for envelope in decode_batch((await consumer.take()).body)]
    await consumer.close()
    assert published == [result["id"] for result in sent["results"]]


async def test_stopping_gives_the_issuer_number_back(settings: ApiSettings, ports: Ports) -> None:
    released = []
    release = ports.messages._inner.release_issuer  # type: ignore[attr-defined]

    async def noting(lease: object, **options: object) -> None:
        released.append(lease)
        await release(lease, **options)

    ports.messages.replace(release_issuer=noting)  # type: ignore[attr-defined]
    api = PushApi(settings, ports)
    await api.start()
    await api.stop(1.0)
    assert len(released) == 1


async def test_two_processes_have_two_issuer_numbers(settings: ApiSettings, ports: Ports) -> None:
    first, second = PushApi(settings, ports), PushApi(settings, ports)
    await asyncio.gather(first.start(), second.start())
    ids = []
    for api in (first, second):
        async with client_of(api, "demo.secret") as http:
            ids.append(int((await http.post("/v1/messages", json=good())).json()["id"]))
    assert ids[0] >> 7 & 127 != ids[1] >> 7 & 127
    await asyncio.gather(first.stop(1.0), second.stop(1.0))


async def test_it_can_be_started_again_on_the_same_ports(settings: ApiSettings, ports: Ports) -> None:
    first = PushApi(settings, ports)
    await first.start()
    port = httpx.URL(first.url).port
    assert port is not None
    await first.stop(1.0)
    again = PushApi(replace(settings, port=port), ports)
    await again.start()
    async with client_of(again, None) as http:
        assert (await http.get("/readyz")).status_code == 200
    await again.stop(1.0)


async def test_stopping_what_was_not_started_is_harmless(settings: ApiSettings, ports: Ports) -> None:
    await PushApi(settings, ports).stop(0.1)


class Control:
    def __init__(self) -> None:
        self.shard_map = ShardMap.single("here")


@pytest.mark.parametrize(("zone", "count"), [("here", 256), ("there", 0)])
def test_the_shards_are_those_of_the_zone(zone: str, count: int) -> None:
    assert len(ZoneShards(Control(), zone, Clock())()) == count  # type: ignore[arg-type]


def test_the_shards_follow_the_map() -> None:
    control = Control()
    shards = ZoneShards(control, "here", Clock())  # type: ignore[arg-type]
    assert shards() is shards()
    control.shard_map = ShardMap.from_value(2, {"zones": {"here": [[3, 4]], "there": [[0, 2]]}})
    assert list(shards()) == [3, 4]


def test_a_shard_that_moves_is_left_alone_by_both_zones_until_the_instant_of_the_move() -> None:
    control, clock = Control(), HandClock()
    here = ZoneShards(control, "here", clock.clock())  # type: ignore[arg-type]
    there = ZoneShards(control, "there", clock.clock())  # type: ignore[arg-type]
    owner = ["there" if shard >= 200 else "here" for shard in range(256)]
    control.shard_map = ShardMap.single("here").changed_to(owner, at=clock.wall_ms() + 10_000, forget_before=0)
    assert (len(here()), len(there())) == (200, 0)
    clock.advance(10.0)
    assert (len(here()), list(there())) == (200, list(range(200, 256)))
