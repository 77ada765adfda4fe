"""The app `demo`: made once, its secrets reused, and never lost for good."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ops import demo_app
from ops.apps import Secrets, opens
from ops.demo_file import DemoFile
from push_core.adapters import open_devices
from push_core.devices.port import Devices
from push_core.models import App


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Devices]:
    store = await open_devices(f"sqlite:///{tmp_path}/devices.sqlite")
    yield store
    await store.close()


async def app_in(store: Devices) -> App:
    (app,) = await store.apps(["demo"])
    assert app is not None
    return app


def file_of(secrets: Secrets, **changes: str) -> DemoFile:
    fields = {
        "api": "",
        "gateway": "",
        "app": "demo",
        "key": secrets.key,
        "device_secret": secrets.device_secret,
        "page": "",
    }
    return DemoFile(**(fields | changes))


async def test_the_first_start_makes_it(store: Devices) -> None:
    secrets = await demo_app.ensure(store, None, now=1)
    app = await app_in(store)
    assert opens(app, secrets.key)
    assert app.device_secrets == (secrets.device_secret,)


async def test_the_second_start_finds_it_and_changes_nothing(store: Devices) -> None:
    secrets = await demo_app.ensure(store, None, now=1)
    before = await app_in(store)
    again = await demo_app.ensure(store, file_of(secrets), now=2)
    assert (again.key, again.device_secret) == (secrets.key, secrets.device_secret)
    assert await app_in(store) == before


@pytest.mark.parametrize("changes", [{"key": "demo.forged"}, {"app": "other"}])
async def test_a_file_that_does_not_fit_gets_one_more_key(store: Devices, changes: dict[str, str]) -> None:
    secrets = await demo_app.ensure(store, None, now=1)
    again = await demo_app.ensure(store, file_of(secrets, **changes), now=2)
    app = await app_in(store)
    assert again.key not in (secrets.key, "demo.forged")
    assert opens(app, again.key)
    assert opens(app, secrets.key)
    assert again.device_secret == secrets.device_secret


def test_the_page_keeps_its_token_over_restarts() -> None:
    token = demo_app.page_token(None)
    assert len(token) >= 32
    assert demo_app.page_token(None) != token
    page = demo_app.page_url("http://127.0.0.1:1", token)
    assert demo_app.page_token(file_of(Secrets("demo.k", "s"), page=page)) == token


def test_what_identifies_the_page_is_in_its_fragment_only() -> None:
    page = demo_app.page_url("http://127.0.0.1:1", "t")
    assert page.partition("#")[0] == "http://127.0.0.1:1/demo"
    assert page.partition("#")[2] == "token=t&device=web-1"
