"""One call that lets a process be seen into."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import structlog

from ops import logs
from ops.admin.inside import Inside, subject
from ops.admin.settings import AdminSettings
from push_core.errors import ConfigError
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics

KEY = "cluster-secret"


async def nothing_missing() -> list[str]:
    return []


def inside_of(data: Path | None = None, **settings: float) -> Inside:
    return Inside(
        AdminSettings(**{"sample_s": 0.1, **settings}),  # type: ignore[arg-type]
        role="gateway",
        name="gw-1",
        key=KEY,
        ready=nothing_missing,
        data=data,
    )


async def until(metrics: MemoryMetrics, metric: Metric, **tags: str) -> float:
    async with asyncio.timeout(10):
        while (value := metrics.newest(metric, **tags)) is None:
            await asyncio.sleep(0.01)
    return value


async def test_the_pages_are_there_and_what_they_show_is_this_process() -> None:
    async with inside_of() as inside, httpx.AsyncClient(trust_env=False) as client:
        base = f"http://127.0.0.1:{inside.port}"
        client.headers["taco-cluster-key"] = KEY
        tasks = (await client.get(f"{base}/debug/tasks")).json()
        assert any(group["name"] == "admin.samples" for group in tasks["groups"])
        assert all(group["oldest_s"] is not None for group in tasks["groups"] if group["name"].startswith("admin."))
        async with asyncio.timeout(10):  # it watches once the process is ready
            while not any(
                thread["name"] == "admin.watchdog"
                for thread in (await client.get(f"{base}/debug/stacks")).json()["threads"]
            ):
                await asyncio.sleep(0.01)
        assert (await client.get(f"{base}/debug/heap")).json()["objects"] > 1_000
        assert (await client.get(f"{base}/readyz")).json() == {"ready": True}


async def test_the_process_measures_itself(tmp_path: Path) -> None:
    metrics = MemoryMetrics()
    async with inside_of(tmp_path) as inside:
        inside.use(metrics)
        assert await until(metrics, Metric.PROCESS_READY, role="gateway") == 1.0
        assert await until(metrics, Metric.PROCESS_RSS) > 1_000_000
        assert await until(metrics, Metric.PROCESS_DISK_FREE) > 0
        assert await until(metrics, Metric.PROCESS_FILES) > 0
        assert metrics.counted(Metric.PROCESS_CPU) > 0


async def test_what_went_wrong_before_there_were_metrics_is_counted_all_the_same() -> None:
    metrics = MemoryMetrics()
    logs.error_lines.take()
    async with inside_of() as inside:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        logs.error_lines(structlog.get_logger(), "error", {"level": "error"})
        await asyncio.sleep(0.01)
        inside.use(metrics)
    assert metrics.counted(Metric.TASK_ERRORS, task="stray") == 1
    assert metrics.counted(Metric.ERROR_LOGS) >= 1


async def test_with_the_port_off_the_rest_works() -> None:
    metrics = MemoryMetrics()
    async with inside_of(port=-1, held_s=0.0) as inside:
        assert inside.port is None
        inside.use(metrics)
        assert await until(metrics, Metric.PROCESS_READY, role="gateway") == 1.0


async def test_everything_is_put_back_afterwards() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory(), loop.get_exception_handler()
    async with inside_of():
        assert loop.get_task_factory() is not None
    assert (loop.get_task_factory(), loop.get_exception_handler()) == before


async def test_a_port_that_is_taken_leaves_nothing_in_place() -> None:
    loop = asyncio.get_running_loop()
    async with inside_of() as first:
        assert first.port is not None
        factory = loop.get_task_factory()
        with pytest.raises(ConfigError, match=r"\[admin\] port"):
            await inside_of(port=first.port).start()
        assert loop.get_task_factory() is factory


HELD = """
import asyncio, time
from ops.admin.inside import Inside
from ops.admin.settings import AdminSettings
async def ready():
    return []
async def main():
    inside = Inside(AdminSettings(held_s=0.0), role="api", name="api-1", key=None, ready=ready)
    await inside.start()
    print("ready", flush=True)
    time.sleep(60)
asyncio.run(main())
"""


def test_a_signal_writes_the_stacks_even_when_the_loop_is_held() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGUSR1)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "in main" in line:
                break
        process.kill()
    assert any("most recent call first" in line for line in lines)


async def test_what_is_missing_is_a_metric_until_it_is_over() -> None:
    metrics, missing = MemoryMetrics(), ["presence does not answer (refused)", "no issuer number is held"]

    async def ready() -> list[str]:
        return missing

    inside = Inside(AdminSettings(sample_s=0.1), role="api", name="api-1", key=None, ready=ready)
    async with inside:
        inside.use(metrics)
        assert await until(metrics, Metric.PROCESS_MISSING, what="presence") == 1.0
        assert metrics.newest(Metric.PROCESS_MISSING, what="no issuer number is held") == 1.0
        assert metrics.newest(Metric.PROCESS_READY, role="api") == 0.0
        missing.clear()
        async with asyncio.timeout(10):
            while metrics.newest(Metric.PROCESS_MISSING, what="presence") == 1.0:
                await asyncio.sleep(0.01)
        assert metrics.newest(Metric.PROCESS_READY, role="api") == 1.0


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("the queues does not answer (no answer within 2.5 s)", "the queues"),
        ("starting: mysql://db: connection refused", "starting"),
        ("starting or stopping", "starting or stopping"),
        ("x" * 500, "x" * 60),
    ],
)
def test_a_reason_without_its_details_is_what_it_is_about(reason: str, what: str) -> None:
    assert subject(reason) == what
