"""A push API on free ports over embedded stores, with two apps."""

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest

from push_api.app import PushApi
from push_api.settings import ApiSettings
from push_core.adapters import Ports, StoreSettings, open_ports
from push_core.clock import Clock
from push_core.models import App
from tests.push_api.fakes import Failing

STORES = StoreSettings(
    messages="sqlite://", devices="sqlite://", metrics="memory://", rpc="inproc://", queues="memory://"
)


def app_with_key(name: str, *secrets: str, disabled: bool = False) -> App:
    hashes = tuple(hashlib.sha256(secret.encode()).hexdigest() for secret in secrets)
    return App(name=name, key_hashes=hashes, disabled=disabled)


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    opened = await open_ports(STORES, clock=Clock(), data=None)
    await opened.devices.put_apps(
        [
            app_with_key("demo", "secret"),
            app_with_key("other", "secret-2"),
            app_with_key("closed", "secret", disabled=True),
        ]
    )
    # Tests replace single methods; whatever they don't goes to the real store.
    opened.messages, opened.devices = Failing(opened.messages), Failing(opened.devices)
    opened.queues, opened.presence = Failing(opened.queues), Failing(opened.presence)
    yield opened
    for port in (opened.messages, opened.devices, opened.queues, opened.presence):
        port.give_back()
    await opened.close()


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(port=0, grpc_port=0, app_cache_s=0.0, ready_cache_s=0.0)


@pytest.fixture
async def api(settings: ApiSettings, ports: Ports) -> AsyncIterator[PushApi]:
    running = PushApi(settings, ports)
    await running.start()
    yield running
    await running.stop(2.0)


@pytest.fixture
async def http(api: PushApi) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with the key of the app `demo`."""
    async with client_of(api, "demo.secret") as client:
        yield client


def client_of(api: PushApi, key: str | None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(base_url=api.url, headers=headers, timeout=10.0, trust_env=False)
