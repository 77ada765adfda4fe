"""Two zones with stores of their own; devices hang on a gateway of one, messages are accepted in the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dispatcher.app import Dispatcher
from dispatcher.settings import DispatcherSettings
from ops.apps import new_app
from ops.tokens import mint
from push_api.app import PushApi
from push_api.settings import ApiSettings
from push_core.adapters import Ports, StoreSettings, open_ports
from push_core.clock import Clock, wall_ms
from push_core.ids import shard_of
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.shards import ShardMap
from push_gateway.app import Gateway
from push_gateway.settings import GatewaySettings
from sdk_proto.python.wire_client import Fleet

APP = "courier"
DEVICES = 4


@dataclass
class Zone:
    """One site: its stores, an API, a dispatcher. Presence is one for both, so that either's dispatcher finds the gateway."""

    name: str
    ports: Ports
    key: str
    secret: str
    dispatcher: Dispatcher
    api: PushApi
    http: httpx.AsyncClient

    @classmethod
    async def open(cls, name: str, ports: Ports, stack: AsyncExitStack) -> "Zone":
        stack.push_async_callback(ports.close)
        app, secrets = new_app(APP, now=wall_ms())
        await ports.devices.put_apps([app])
        dispatcher = Dispatcher(DispatcherSettings(zone=name), ports)
        await dispatcher.start()
        stack.push_async_callback(dispatcher.stop, 1.0)
        api = PushApi(ApiSettings(zone=name, port=0, grpc_port=-1), ports)
        await api.start()
        stack.push_async_callback(api.stop, 1.0)
        headers = {"authorization": f"Bearer {secrets.key}"}
        http = httpx.AsyncClient(base_url=api.url, headers=headers, trust_env=False)
        stack.push_async_callback(http.aclose)
        return cls(name, ports, secrets.key, secrets.device_secret, dispatcher, api, http)

    async def put(self, key: str, value: Any) -> None:
        await self.ports.control.control.put(key, value)
        await self.ports.control.poll()

    async def push(self, count: int) -> list[str]:
        """Accepted ids, the devices taking turns."""
        messages = [
            {"target": {"device": f"d-{number % DEVICES}"}, "title": "Order", "body": "Two bags"}
            for number in range(count)
        ]
        answer = await self.http.post("/v1/messages:batch", json={"messages": messages})
        assert answer.status_code == 202, answer.text
        return [result["id"] for result in answer.json()["results"]]

    async def state(self, message_id: str) -> str:
        return str((await self.http.get(f"/v1/messages/{message_id}")).json()["state"])

    async def until_delivered(self, ids: list[str]) -> None:
        for message_id in ids:
            while (state := await self.state(message_id)) != "delivered":
                assert state in ("accepted", "sending", "waiting"), state
                await asyncio.sleep(0.02)


@dataclass
class Site:
    """Zones a and b, and a gateway in a."""

    a: Zone
    b: Zone
    gateway: Gateway
    metrics: MemoryMetrics
    fleet: Fleet
    shown: list[int]


@pytest.fixture(params=["inproc", "grpc"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        stores = StoreSettings(
            messages="sqlite://",
            devices="sqlite://",
            metrics="memory://",
            rpc="inproc://" if request.param == "inproc" else "grpc://127.0.0.1:0",
            cluster_key="one for both",
        )
        ports = [await open_ports(stores, clock=Clock(), data=None) for _ in range(2)]
        ports[1].presence = ports[0].presence
        if request.param == "inproc":
            ports[1].rpc = ports[0].rpc
        a, b = [await Zone.open(name, each, stack) for name, each in zip("ab", ports, strict=True)]
        zones = {"zones": {"a": [[0, 127]], "b": [[128, 255]]}}
        for zone in (a, b):
            await zone.put("shards", zones)
            await zone.put("zones", {"b": {"receipts": [b.dispatcher.address]}})
        settings = GatewaySettings(zone="a", port=0, retry_max_s=0.2, receipts_timeout_s=2.0, peers_every_s=0.1)
        gateway = Gateway(settings, a.ports)
        await gateway.start()
        stack.push_async_callback(gateway.stop, 2.0)
        shown: list[int] = []
        fleet = Fleet(gateway.url, on_push=lambda device, push, is_new: shown.append(push.id) if is_new else None)
        stack.push_async_callback(fleet.close)
        for number in range(DEVICES):
            name = f"d-{number}"
            await fleet.connect(APP, name, mint(APP, name, a.secret, now_s=wall_ms() // 1_000))
        metrics = a.ports.metrics
        assert isinstance(metrics, MemoryMetrics)
        yield Site(a, b, gateway, metrics, fleet, shown)


async def test_a_receipt_taken_in_one_zone_reaches_the_zone_that_accepted_the_message(site: Site) -> None:
    here, there = await site.a.push(20), await site.b.push(20)
    assert {shard_of(int(each)) < 128 for each in here} == {True}
    assert {shard_of(int(each)) < 128 for each in there} == {False}
    await site.a.until_delivered(here)
    await site.b.until_delivered(there)
    assert sorted(site.shown) == sorted(map(int, [*here, *there]))


async def test_a_zone_that_can_t_be_reached_gets_its_receipts_later_and_holds_up_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.a.put("zones", {"b": {"receipts": ["127.0.0.1:9"]}})
    if site.a.ports.rpc is site.b.ports.rpc:  # in one process a listener is known without anybody's word
        zones = site.a.ports.rpc.zones
        zones.unregister("b", site.b.dispatcher.address)
        monkeypatch.setattr(zones, "find", lambda *_: None)  # b's own gateway finds it, and in one process tells a's
        zones._found.clear()
    there, here = await site.b.push(8), await site.a.push(8)
    await site.a.until_delivered(here)
    assert {await site.b.state(each) for each in there} <= {"accepted", "sending"}
    await site.a.put("zones", {"b": {"receipts": ["127.0.0.1:9", site.b.dispatcher.address]}})
    await site.b.until_delivered(there)
    assert site.fleet.counters.repeats == 0


async def test_shards_move_between_zones_while_messages_are_under_way(site: Site) -> None:
    sent: dict[str, list[str]] = {"a": [], "b": []}
    cut = 128
    for step in (200, 64, 128):
        before = ShardMap.from_value(0, (await site.a.ports.control.control.get(["shards"]))[0].value)  # type: ignore[union-attr]
        owner = ["a" if shard < step else "b" for shard in range(256)]
        moved = before.changed_to(owner, at=wall_ms() + 1_000, forget_before=0)
        # b hears of it late: what it says of shards that it does not know to be its own is looked up again.
        await site.a.put("shards", moved.to_value())
        for zone in (site.a, site.b):
            sent[zone.name] += await zone.push(40)
        await site.b.put("shards", moved.to_value())
        while wall_ms() <= moved.settled_at():
            await asyncio.sleep(0.01)
        for zone in (site.a, site.b):
            new = await zone.push(40)
            assert {(shard_of(int(each)) < step) == (zone is site.a) for each in new} == {True}
            sent[zone.name] += new
        cut = step
    assert cut == 128
    await site.a.until_delivered(sent["a"])
    await site.b.until_delivered(sent["b"])
    assert sorted(site.shown) == sorted(map(int, [*sent["a"], *sent["b"]]))
    assert site.metrics.counted(Metric.GW_RECEIPTS_DROPPED) == 0


async def test_a_zone_without_shards_says_so(site: Site) -> None:
    await site.b.put("shards", {"zones": {"a": [[0, 255]]}})
    answer = await site.b.http.post("/v1/messages", json={"target": {"device": "d-1"}, "title": "x", "body": "y"})
    assert answer.status_code == 503
    assert "owns no shard" in answer.json()["error"]["message"]
