"""A rolling restart of three gateways under load, devices with the real SDK. More of them, on MariaDB, with figures: `python -m bench.rolling`."""

import asyncio
from dataclasses import dataclass

import pytest

from bench.rolling import Load, roll
from ops import demo_app
from ops.apps import Secrets
from tests.support.programs import Programs, Running, make_app

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
LOAD = Load(gateways=3, sessions=45, per_second=30, rate=30.0)
ENV = {
    "TACO_GATEWAY_DRAIN_RATE": str(LOAD.per_second),
    "TACO_GATEWAY_DRAIN_S": "20",
    "TACO_GATEWAY_DRAIN_LEAVE_S": "10",
    "TACO_PROCESS_STOP_S": "30",
}


@dataclass
class Site:
    programs: Programs
    secrets: Secrets
    api: str
    gateways: dict[str, str]
    processes: dict[str, Running]
    app: str = demo_app.NAME

    @property
    def key(self) -> str:
        return self.secrets.key

    @property
    def device_secret(self) -> str:
        return self.secrets.device_secret

    async def restart(self, name: str) -> None:
        before = self.processes[name]
        assert await before.terminated() == 0
        assert before.troubles() == []
        port = str(before.said["ports"]["ws"])
        self.processes[name] = await self.programs.start("gateway", "--name", name, "--port", port, **ENV)


async def test_it_loses_nothing_and_no_second_sees_more_than_the_set_rate(programs: Programs) -> None:
    secrets = await make_app(programs)
    names = ["gw-1", "gw-2", "gw-3"]
    api, _, *gateways = await asyncio.gather(
        programs.start("api"),
        programs.start("dispatcher"),
        *(programs.start("gateway", "--name", name, **ENV) for name in names),
    )
    processes = dict(zip(names, gateways, strict=True))
    urls = {name: running.url for name, running in processes.items()}
    figures = await roll(Site(programs, secrets, api.url, urls, processes), LOAD)
    assert figures.accepted > 0
    assert (figures.lost, figures.duplicates, figures.refused) == (0, 0, 0)
    assert figures.reconnects >= LOAD.sessions
    assert figures.broken == []
    assert figures.closed_4100 == 0, "each went by itself"
