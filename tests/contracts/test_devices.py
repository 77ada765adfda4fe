"""The contract of the device store: apps, devices, aliases, blocks and vendor tokens."""

from collections.abc import AsyncIterator

import pytest

from push_core.devices.port import DeadToken, Devices, TopicChange
from push_core.devices.sql import SqlDevices
from push_core.errors import Unavailable
from push_core.models import App, Device, PublicKey
from tests.contracts.sql_stores import OnMaria, OnSqliteFile, OnSqliteMemory

APP, OTHER = "courier", "customer"


class DevicesContract:
    @pytest.fixture
    async def store(self, dsn: str) -> AsyncIterator[Devices]:
        store = await SqlDevices.open(dsn)
        yield store
        await store.close()

    async def test_apps_are_kept_whole_and_replaced(self, store: Devices) -> None:
        key = PublicKey("ES256", "-----BEGIN PUBLIC KEY-----", "k1")
        full = App(
            name=APP,
            key_hashes=("aa", "bb"),
            device_secrets=("s",),
            public_keys=(key,),
            queue_class="gold",
            channels={"webhook": {"url": "http://example.test", "retries": 3}},
            created=7,
        )
        await store.put_apps([App(name=APP), App(name=OTHER, disabled=True)])
        await store.put_apps([full])
        assert await store.apps([OTHER, "nobody", APP, APP]) == [App(name=OTHER, disabled=True), None, full, full]

    async def test_all_apps_come_in_order_of_names(self, store: Devices) -> None:
        assert await store.all_apps() == []
        await store.put_apps([App(name=name) for name in ("b", "a-1", "a")])
        assert [app.name for app in await store.all_apps()] == ["a", "a-1", "b"]

    async def test_a_device_is_registered_and_replaced_whole(self, store: Devices) -> None:
        full = Device(
            app=APP,
            device="d",
            alias="user-1",
            tags=("x", "y"),
            platform="ios",
            vendor_tokens={"apns": "t"},
            locale="de",
            time_zone="Europe/Berlin",
            app_version="1.2",
            updated=5,
        )
        assert await store.put([full]) == [full]
        plain = Device(app=APP, device="d", updated=6)
        assert await store.put([plain]) == [plain]
        assert await store.get([(APP, "d"), (APP, "e"), (OTHER, "d")]) == [plain, None, None]
        assert await store.by_alias(APP, ["user-1"]) == []

    async def test_registering_keeps_a_block(self, store: Devices) -> None:
        await store.block([(APP, "d")], True, now=9)
        (stored,) = await store.put([Device(app=APP, device="d", alias="u", blocked=False, updated=10)])
        assert (stored.blocked, stored.alias) == (True, "u")
        await store.block([(APP, "d")], False, now=11)
        (stored,) = await store.put([Device(app=APP, device="d", blocked=True, updated=12)])
        assert not stored.blocked, "only `block` blocks"

    async def test_a_block_makes_a_record_and_keeps_one_that_is_there(self, store: Devices) -> None:
        await store.put([Device(app=APP, device="d", alias="u", updated=3)])
        await store.block([(APP, "d"), (APP, "new"), (APP, "d")], True, now=9)
        known, made = await store.get([(APP, "d"), (APP, "new")])
        assert known == Device(app=APP, device="d", alias="u", blocked=True, updated=3)
        assert made == Device(app=APP, device="new", blocked=True, updated=9)
        assert await store.get([(OTHER, "d")]) == [None]

    async def test_a_forgotten_device_is_gone_with_its_block(self, store: Devices) -> None:
        await store.put([Device(app=APP, device="d", alias="u"), Device(app=OTHER, device="d")])
        await store.block([(APP, "d")], True, now=1)
        assert await store.forget([(APP, "d"), (APP, "e"), (APP, "d")]) == [True, False, False]
        assert await store.get([(APP, "d"), (OTHER, "d")]) == [None, Device(app=OTHER, device="d")]
        (stored,) = await store.put([Device(app=APP, device="d")])
        assert not stored.blocked

    async def test_topics_are_added_and_removed_in_order_and_make_a_record(self, store: Devices) -> None:
        first = TopicChange(app="courier", device="d-1", add=["b", "a"])
        second = TopicChange(app="courier", device="d-1", add=["c", "b"], remove=["a", "never"])
        other = TopicChange(app="customer", device="d-1", add=["x"])
        stored = await store.change_topics([first, other], now=7)
        assert [(each.app, each.topics, each.updated) for each in stored] == [
            ("courier", ("b", "a"), 7),
            ("customer", ("x",), 7),
        ]
        assert [each.topics for each in await store.change_topics([second, second], now=8)] == [("b", "c")] * 2
        nothing = TopicChange(app="courier", device="d-2", remove=["a"])
        assert [each.topics for each in await store.change_topics([nothing], now=9)] == [()]
        assert [found and found.topics for found in await store.get([("courier", "d-1"), ("courier", "d-2")])] == [
            ("b", "c"),
            None,
        ]

    async def test_registering_leaves_topics_and_a_change_of_topics_leaves_the_rest(self, store: Devices) -> None:
        await store.put([Device(app="courier", device="d-1", alias="u-1")])
        await store.block([("courier", "d-1")], True, now=1)
        (stored,) = await store.change_topics([TopicChange(app="courier", device="d-1", add=["a"])], now=2)
        assert (stored.alias, stored.blocked, stored.topics) == ("u-1", True, ("a",))
        (stored,) = await store.put([Device(app="courier", device="d-1", alias="u-2", topics=("forged",))])
        assert (stored.alias, stored.blocked, stored.topics) == ("u-2", True, ("a",))

    async def test_an_alias_is_expanded_in_pages_in_order(self, store: Devices) -> None:
        await store.put([Device(app=APP, device=f"d-{n}", alias=f"u-{n % 3}") for n in range(9)])
        await store.put([Device(app=OTHER, device="d-0", alias="u-0"), Device(app=APP, device="none")])
        names = ["d-0", "d-1", "d-3", "d-4", "d-6", "d-7"]
        read: list[str] = []
        while page := await store.by_alias(APP, ["u-1", "u-0", "u-0", "u-9"], after=read[-1] if read else "", limit=4):
            read += page
        assert read == names
        assert await store.by_alias(OTHER, ["u-0", "u-1"]) == ["d-0"]
        assert await store.by_alias(APP, []) == []

    async def test_names_and_aliases_are_compared_exactly(self, store: Devices) -> None:
        names = ["d", "D", "d ", " d"]
        await store.put([Device(app=APP, device=name, alias=name) for name in names])
        assert [d and d.device for d in await store.get([(APP, name) for name in names])] == names
        assert [await store.by_alias(APP, [name]) for name in names] == [[name] for name in names]

    async def test_a_dead_token_is_dropped_unless_a_newer_one_took_its_place(self, store: Devices) -> None:
        tokens = {"apns": "old", "fcm": "f", "mi": "new"}
        await store.put([Device(app=app, device="d", alias="u", vendor_tokens=tokens) for app in (APP, OTHER)])
        await store.block([(APP, "d")], True, now=1)
        await store.drop_tokens(
            [
                DeadToken(APP, "d", "apns", "old"),
                DeadToken(APP, "d", "fcm", "f"),
                DeadToken(APP, "d", "mi", "an earlier one"),
                DeadToken(APP, "nobody", "apns", "old"),
            ]
        )
        ours, theirs = await store.get([(APP, "d"), (OTHER, "d")])
        assert ours is not None
        assert theirs is not None
        assert (ours.vendor_tokens, ours.blocked, ours.alias) == ({"mi": "new"}, True, "u")
        assert theirs.vendor_tokens == tokens
        assert await store.by_alias(APP, ["u"]) == ["d"]

    async def test_five_hundred_devices_are_put_at_once(self, store: Devices) -> None:
        devices = [Device(app=APP, device=f"d-{n}", updated=n) for n in range(500)]
        assert await store.put(devices) == devices

    async def test_a_closed_store_says_so(self, store: Devices) -> None:
        await store.ping()
        await store.close()
        with pytest.raises(Unavailable, match="closed"):
            await store.ping()


class TestDevicesOnSqliteFile(OnSqliteFile, DevicesContract): ...


class TestDevicesOnSqliteMemory(OnSqliteMemory, DevicesContract): ...


class TestDevicesOnMaria(OnMaria, DevicesContract): ...
