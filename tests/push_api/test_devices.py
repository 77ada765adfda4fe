from collections.abc import Sequence
from typing import Any

import httpx

from push_api.app import PushApi
from push_core.adapters import Ports
from push_core.presence.port import Node, Route
from push_core.rpc.port import Deliver, Delivered, Kick, Poke, Subscription
from tests.push_api.conftest import client_of
from tests.push_api.refusals import assert_refused
from tests.support.audience import NoAudience

RECORD = {
    "alias": "user-7",
    "tags": ["city-021"],
    "platform": "ios",
    "vendor_tokens": {"apns": "t"},
    "locale": "de-AT",
    "time_zone": "Europe/Vienna",
    "app_version": "4.2.0",
}


async def test_a_device_is_registered_replaced_and_forgotten(http: httpx.AsyncClient) -> None:
    answer = await http.put("/v1/devices/phone-1", json=RECORD)
    assert answer.status_code == 200
    record = answer.json()
    assert record == {**RECORD, "device": "phone-1", "blocked": False, "updated": record["updated"], "topics": []}
    assert (await http.get("/v1/devices/phone-1")).json() == record
    replaced = (await http.put("/v1/devices/phone-1", json={"tags": ["a", "a"]})).json()
    assert (replaced["alias"], replaced["tags"], replaced["vendor_tokens"]) == (None, ["a"], {})
    answer = await http.delete("/v1/devices/phone-1")
    assert (answer.status_code, answer.content) == (204, b"")
    assert_refused(await http.get("/v1/devices/phone-1"), "not_found")
    assert_refused(await http.delete("/v1/devices/phone-1"), "not_found")


async def test_a_devices_name_is_decoded_from_the_path(http: httpx.AsyncClient) -> None:
    for name in ["a/b", "a:block", "ä b", "100%", "a?b#c", "..", "a+b", "x" * 128]:
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        answer = await http.put(f"/v1/devices/{encoded}", json={})
        assert (answer.status_code, answer.json()["device"]) == (200, name)
        assert (await http.get(f"/v1/devices/{encoded}/presence")).json()["online"] is False
        assert (await http.post(f"/v1/devices/{encoded}:disconnect")).json() == {"disconnected": False}


async def test_a_bad_devices_name_is_refused(http: httpx.AsyncClient) -> None:
    for path, code, field in [
        ("%0A", "invalid", "device"),
        ("%00", "invalid", "device"),
        ("x" * 129, "invalid", "device"),
        ("%ff", "bad_request", None),
    ]:
        assert_refused(await http.put(f"/v1/devices/{path}", json={}), code, field)
        for suffix in ("/presence", ""):
            assert_refused(await http.get(f"/v1/devices/{path}{suffix}"), code, field)
        for action in ("disconnect", "block", "unblock"):
            assert_refused(await http.post(f"/v1/devices/{path}:{action}"), code, field)


async def test_a_bad_registration_is_refused(http: httpx.AsyncClient) -> None:
    for record, code, field in [
        ({"alais": "x"}, "unknown_field", "alais"),
        ({"alias": ""}, "invalid", "alias"),
        ({"alias": 7}, "invalid", "alias"),
        ({"alias": "a\n"}, "invalid", "alias"),
        ({"tags": "a"}, "invalid", "tags"),
        ({"tags": ["a", "b c"]}, "invalid", "tags[1]"),
        ({"tags": ["a"] * 101}, "too_many", "tags"),
        ({"vendor_tokens": {"apns": ""}}, "invalid", "vendor_tokens"),
        ({"vendor_tokens": {"AP NS": "x"}}, "invalid", "vendor_tokens"),
        ({"vendor_tokens": {"apns": "x" * 4_097}}, "invalid", "vendor_tokens"),
        ({"vendor_tokens": {f"c{n}": "x" for n in range(17)}}, "too_many", "vendor_tokens"),
        ({"platform": "x" * 65}, "invalid", "platform"),
        ([], "invalid", None),
    ]:
        assert_refused(await http.put("/v1/devices/phone-1", json=record), code, field)
        assert_refused(await http.get("/v1/devices/phone-1"), "not_found")


async def test_devices_of_two_apps_with_one_name_are_two(http: httpx.AsyncClient, api: PushApi) -> None:
    await http.put("/v1/devices/phone-1", json={"alias": "ours"})
    async with client_of(api, "other.secret-2") as other:
        assert_refused(await other.get("/v1/devices/phone-1"), "not_found")
        assert_refused(await other.delete("/v1/devices/phone-1"), "not_found")
        await other.put("/v1/devices/phone-1", json={"alias": "theirs"})
        await other.post("/v1/devices/phone-1:block")
    ours = (await http.get("/v1/devices/phone-1")).json()
    assert (ours["alias"], ours["blocked"]) == ("ours", False)


class FakeNode(NoAudience):
    """A gateway that knows its sessions by name."""

    def __init__(self, *sessions: tuple[str, str]) -> None:
        self.sessions = set(sessions)
        self.subscriptions: list[Subscription] = []
        self.kicked: list[Kick] = []

    async def deliver(self, call: Deliver) -> Delivered:
        raise NotImplementedError

    async def poke(self, pokes: list[Poke]) -> None:
        raise NotImplementedError

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        self.subscriptions.extend(subscriptions)
        return [(each.app, each.device) in self.sessions for each in subscriptions]

    async def kick(self, kicks: list[Kick]) -> list[bool]:
        self.kicked.extend(kicks)
        return [(kick.app, kick.device) in self.sessions for kick in kicks]


async def connected(ports: Ports, node: FakeNode, app: str = "demo", device: str = "phone-1") -> Any:
    listener = ports.rpc.listen(node=node, zone="default")  # type: ignore[arg-type]
    await listener.start()
    lease = Node(incarnation="i-1", name="gw-1", address=listener.address, zone="default")
    await ports.presence.lease_node(lease, 60.0)
    await ports.presence.sign_in([Route(app=app, device=device, incarnation="i-1", epoch=3, since=1_790_000_000_000)])
    return listener


async def test_presence_says_where_a_device_is_connected(http: httpx.AsyncClient, api: PushApi, ports: Ports) -> None:
    listener = await connected(ports, FakeNode())
    answer = await http.get("/v1/devices/phone-1/presence")
    assert answer.json() == {"online": True, "node": "gw-1", "since": 1_790_000_000_000}
    async with client_of(api, "other.secret-2") as other:
        answer = await other.get("/v1/devices/phone-1/presence")
    assert answer.json() == {"online": False, "node": None, "since": None}
    await listener.stop(1.0)


async def test_disconnect_ends_the_session_and_lets_it_come_back(http: httpx.AsyncClient, ports: Ports) -> None:
    node = FakeNode(("demo", "phone-1"))
    listener = await connected(ports, node)
    answer = await http.post("/v1/devices/phone-1:disconnect")
    assert (answer.status_code, answer.json()) == (200, {"disconnected": True})
    assert node.kicked == [Kick("demo", "phone-1", -1, 4000, "disconnected by the app", "i-1")]
    await listener.stop(1.0)


async def test_block_refuses_the_device_and_ends_its_session(http: httpx.AsyncClient, ports: Ports) -> None:
    node = FakeNode(("demo", "phone-1"))
    listener = await connected(ports, node)
    answer = await http.post("/v1/devices/phone-1:block")
    assert (answer.status_code, answer.json()["blocked"]) == (200, True)
    assert [(kick.code, kick.epoch) for kick in node.kicked] == [(4304, -1)]
    await http.put("/v1/devices/phone-1", json=RECORD)
    assert (await http.get("/v1/devices/phone-1")).json()["blocked"] is True
    assert (await http.post("/v1/devices/phone-1:unblock")).json()["blocked"] is False
    await listener.stop(1.0)


async def test_a_session_that_moved_meanwhile_is_looked_for_once_more(http: httpx.AsyncClient, ports: Ports) -> None:
    node = FakeNode()
    listener = await connected(ports, node)
    assert (await http.post("/v1/devices/phone-1:disconnect")).json() == {"disconnected": False}
    assert len(node.kicked) == 2
    await listener.stop(1.0)


async def test_a_block_stands_even_when_the_session_cannot_be_reached(http: httpx.AsyncClient, ports: Ports) -> None:
    listener = await connected(ports, FakeNode(("demo", "phone-1")))
    await listener.stop(1.0)
    answer = await http.post("/v1/devices/phone-1:block")
    assert_refused(answer, "unavailable")
    assert "is blocked" in answer.json()["error"]["message"]
    assert (await http.get("/v1/devices/phone-1")).json()["blocked"] is True


async def test_what_was_never_registered_cannot_be_unblocked(http: httpx.AsyncClient) -> None:
    assert_refused(await http.post("/v1/devices/phone-1:unblock"), "not_found")


async def test_a_device_is_subscribed_to_topics_stored_and_told(http: httpx.AsyncClient, ports: Ports) -> None:
    node = FakeNode(("demo", "phone-1"))
    listener = await connected(ports, node)
    answer = await http.post("/v1/devices/phone-1:subscribe", json={"topics": ["vip", "city-021"]})
    assert (answer.status_code, answer.json()["topics"]) == (200, ["vip", "city-021"])
    await http.post("/v1/devices/phone-2:subscribe", json={"topics": ["vip"]})  # not connected: told by its record
    replaced = await http.put("/v1/devices/phone-1", json=RECORD)
    assert replaced.json()["topics"] == ["vip", "city-021"]
    answer = await http.post("/v1/devices/phone-1:unsubscribe", json={"topics": ["vip"]})
    assert answer.json()["topics"] == ["city-021"]
    assert node.subscriptions == [
        Subscription("demo", "phone-1", ["vip", "city-021"]),
        Subscription("demo", "phone-1", ["vip"], on=False),
    ]
    await listener.stop(0)


async def test_topics_that_cannot_be_are_refused(http: httpx.AsyncClient) -> None:
    url = "/v1/devices/phone-1:subscribe"
    assert_refused(await http.post(url, json={"topics": ["a b"]}), "invalid", "topics[0]")
    assert_refused(await http.post(url, json={"topics": []}), "invalid", "topics")
    assert_refused(await http.post(url, json={}), "missing_field", "topics")
    assert_refused(await http.post(url, json={"topics": [f"t-{n}" for n in range(101)]}), "too_many", "topics")
    assert (await http.post(url, json={"topics": [f"t-{n}" for n in range(100)]})).status_code == 200
    assert_refused(await http.post(url, json={"topics": ["one-more"]}), "too_many", "topics")
    assert_refused(await http.post("/v1/devices/nobody:unsubscribe", json={"topics": ["a"]}), "not_found")


async def test_a_session_that_cannot_be_told_of_its_topics_has_them_with_its_next_one(
    http: httpx.AsyncClient, ports: Ports
) -> None:
    listener = await connected(ports, FakeNode(("demo", "phone-1")))
    await listener.stop(0)
    answer = await http.post("/v1/devices/phone-1:subscribe", json={"topics": ["vip"]})
    assert_refused(answer, "unavailable")
    assert (await http.get("/v1/devices/phone-1")).json()["topics"] == ["vip"]
