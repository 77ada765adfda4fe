"""Three quick faults on a cluster with real servers, under load: nothing that was accepted is lost or shown twice, and it comes back by itself.

All of them, with more devices and higher rates, are `python -m bench.chaos`. How quick the return is depends on what else the machine does,
so that is read there; here it has to happen.
"""

from pathlib import Path

import pytest

from bench.chaos import Load, crowd_for, drill, target_for
from bench.chaos_faults import BY_NAME
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
from tests.support.servers import require_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
QUICK = ("kill_dispatcher", "kill_gateway", "kill_rabbitmq")
LOAD = Load(devices=50, rate=100.0, before_s=1.0, after_s=60.0)


async def test_who_dies_under_load_costs_nothing_that_was_accepted(tmp_path: Path) -> None:
    for server in (MariaServer, RabbitServer, RedisServer):
        require_server(server)
    async with target_for(tmp_path / "cluster", LOAD, redis_proxy=False) as target, crowd_for(target, LOAD) as crowd:
        for name in QUICK:
            figures = await drill(BY_NAME[name], target, crowd, LOAD)
            assert figures.accepted > 0, name
            assert figures.lost == 0, (name, figures.lost_ids)
            assert figures.screen_duplicates == 0, name
            assert figures.astray == 0, name
            assert figures.refused == 0, (name, figures.refusals)
            assert figures.recovered_s is not None, name
