"""What people see of a running process, through the commands that they type."""

import os
import signal

import pytest

from tests.e2e.conftest import Start
from tests.support.terminal import taco as run_taco
from tests.support.until import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def test_a_running_taco_is_found_by_its_folder_and_seen_into(start: Start) -> None:
    taco = await start()
    data = ("--data", str(taco.data))
    status = await run_taco("status", *data, "--json")
    (process,) = status.json()["processes"]
    assert (status.status, process["name"], process["ready"]) == (0, "taco", True)
    tasks = (await run_taco("debug", "tasks", *data, "--json")).json()
    names = {group["name"] for group in tasks["groups"]}
    assert {"gateway.wheel", "dispatcher.relay", "admin.samples"} <= names
    heap = (await run_taco("debug", "heap", *data, "--json")).json()
    assert heap["rss_bytes"] > 10_000_000
    stacks = await run_taco("debug", "stacks", *data)
    assert "thread MainThread" in stacks.out


async def test_the_stacks_of_a_process_come_in_its_log_when_asked_for_by_signal(start: Start) -> None:
    taco = await start()
    asked = await run_taco("debug", "stacks", "--data", str(taco.data), "--signal")
    assert asked.status == 0, asked.err
    await until(lambda: "most recent call first" in taco.log.read_text())
    assert (await run_taco("status", "--data", str(taco.data))).status == 0, "it lives on"


async def test_a_stopped_process_is_told_from_one_that_works(start: Start) -> None:
    taco = await start(TACO_ADMIN_SAMPLE_S="0.1")  # the watchdog begins with the first sample that finds it ready
    pid = (await run_taco("status", "--data", str(taco.data), "--json")).json()["processes"][0]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        status = await run_taco("status", "--data", str(taco.data))
        assert status.status == 1
        assert "no answer within" in status.out
    finally:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: "the process was not run" in taco.log.read_text())
