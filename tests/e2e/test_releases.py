"""Programs of releases that don't understand each other: told in a sentence, and nothing is lost."""

import asyncio
from pathlib import Path

import pytest

from sdk_proto.python.wire_client import Fleet
from tests.e2e.test_programs import connect, delivered, push
from tests.support.programs import Programs, make_app, probe
from tests.support.terminal import taco

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

OF_ANOTHER_RELEASE = """
from push_core.rpc import versions
versions.Spoken.__init__.__defaults__ = (9, 8)
"""


async def test_a_gateway_of_a_release_too_far_away_is_refused_and_what_waits_for_it_is_delivered_by_its_successor(
    programs: Programs, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(OF_ANOTHER_RELEASE)
    secrets = await make_app(programs)
    dispatcher = await programs.start("dispatcher")
    api = await programs.start("api")
    other = await programs.start("gateway", "--name", "gw-9", PYTHONPATH=str(site))
    fleet = Fleet(other.url)
    device = await connect(fleet, "d-1", secrets)
    (message,) = await push(api, secrets, "d-1")
    refusal = await other.until_logged("calls refused")
    assert "the caller speaks version 1 (oldest 1) of the internal RPC, this program 9 (oldest 8)" in refusal["why"]
    assert (await probe(dispatcher.admin, "/readyz"))[0] == 200
    found = await taco("doctor", "--json", "--data", str(tmp_path), env=programs.env)
    assert found.status == 1
    (node,) = (check for check in found.json()["checks"] if check["name"] == "node gw-9")
    assert "this program 9 (oldest 8)" in node["found"]
    assert await other.terminated() == 0
    await device.ended()
    await fleet.close()

    successor = await programs.start("gateway", "--name", "gw-1")
    fleet = Fleet(successor.url)
    await connect(fleet, "d-1", secrets)
    await delivered(api, secrets, message)
    await fleet.close()
    await asyncio.gather(*(program.terminated() for program in (api, successor, dispatcher)))
