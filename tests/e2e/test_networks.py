"""What was accepted is shown once and ends, over networks that are slow, narrow, silent, torn or gone at times.

More devices, for longer: `python -m bench.networks`.
"""

import asyncio
from pathlib import Path

import pytest

from bench.networks import NETWORKS, Load, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
LOAD = Load(devices=20, rate=60.0, batch=3, seconds=0.9, settle_s=60.0)


async def test_the_ledger_balances_over_every_network(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(False)  # a crowd, a proxy and callers share it
    outcomes = await run(NETWORKS, LOAD, tmp_path)
    assert [outcome.network for outcome in outcomes] == [network.name for network in NETWORKS]
    assert {outcome.network: outcome.broken for outcome in outcomes if outcome.broken} == {}
    torn = {outcome.network: outcome.sign_ins for outcome in outcomes}
    for network in ("reset", "tunnel", "cut_mid_frame", "flap"):
        assert torn[network] > 0, "the network was not as it should have been"
