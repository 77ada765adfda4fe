"""The demo page put together for one API: what it may do, in whose name, and where it is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ops import demo_app, demo_file
from ops.demo.context import DemoContext
from ops.demo.routes import demo_routes
from ops.demo_calls import DemoCalls
from ops.tokens import mint
from push_core.clock import Clock
from push_core.errors import ConfigError

TOKEN_S = 3_600


@dataclass(frozen=True, slots=True)
class PageOf:
    """The app that the page shows: its secrets, and where its gateway is."""

    token: str
    key: str
    device_secret: str
    gateway: str

    def __repr__(self) -> str:
        return f"PageOf({self.gateway!r})"


class DemoPage:
    """`routes` go to the API; once that serves, `use` says where, which the page's requests go to and come from."""

    def __init__(self, of: PageOf, clock: Clock) -> None:
        self._calls = DemoCalls(of.key)
        self._hosts: set[str] = set()
        context = DemoContext(
            token=of.token,
            app=demo_app.NAME,
            gateway_url=of.gateway,
            allowed_hosts=self._hosts,
            mint=lambda device: mint(
                demo_app.NAME, device, of.device_secret, now_s=clock.wall_ms() // 1_000, ttl_s=TOKEN_S
            ),
            send=self._calls.send,
            get=self._calls.get,
            recall=self._calls.recall,
        )
        self.routes = demo_routes(context)

    def use(self, api: str) -> None:
        """`api`: its URL as this machine's browser sees it."""
        self._calls.use(api)
        port = api.rpartition(":")[2]
        self._hosts.update({api.partition("://")[2].lower(), f"127.0.0.1:{port}", f"localhost:{port}"})

    async def close(self) -> None:
        await self._calls.close()


class Api(Protocol):
    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> None: ...

    async def missing(self) -> list[str]: ...


class WithPage:
    """An API that was made with the page's routes, started and stopped together with the page. `url` is asked once the API serves."""

    def __init__(self, api: Api, page: DemoPage, url: Callable[[], str]) -> None:
        self._api = api
        self._page = page
        self._url = url

    async def start(self) -> None:
        await self._api.start()
        self._page.use(self._url())

    async def stop(self, grace_s: float) -> None:
        try:
            await self._api.stop(grace_s)
        finally:
            await self._page.close()

    async def missing(self) -> list[str]:
        return await self._api.missing()


def read_page_of(data: Path) -> PageOf:
    """What DATA/demo.json says. Raises ConfigError if it is not there or can't be read."""
    demo = demo_file.read(data)
    if demo is None:
        raise ConfigError(
            f"no {data / demo_file.NAME}: the demo page shows the app that `taco up` or `taco cluster` made"
        )
    return PageOf(demo_app.page_token(demo), demo.key, demo.device_secret, demo.gateway)
