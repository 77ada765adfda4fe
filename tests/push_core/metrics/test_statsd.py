"""What arrives at a statsd."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from push_core.metrics.catalogue import Metric
from push_core.metrics.statsd import StatsdMetrics

NEVER_MS = 3_600_000  # flushed at the end only


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


def datagrams(statsd: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(statsd.recv(65_536))
        except BlockingIOError:
            return found


def lines(statsd: socket.socket) -> list[str]:
    return [line for datagram in datagrams(statsd) for line in datagram.decode("ascii").split("\n")]


async def opened(statsd: socket.socket, **options: object) -> StatsdMetrics:
    return await StatsdMetrics.open("127.0.0.1", statsd.getsockname()[1], **{"flush_ms": NEVER_MS, **options})


async def test_counts_are_added_up_and_sent_once(statsd: socket.socket) -> None:
    metrics = await opened(statsd)
    for _ in range(1_000):
        metrics.count(Metric.API_REQUESTS, method="POST", status="202")
    metrics.count(Metric.API_REQUESTS, 5, status="202", method="POST")
    metrics.count(Metric.GW_ACK_MISSES, 0)
    await metrics.close()
    assert lines(statsd) == ["taco.api.requests.POST.202:1005|c"]


async def test_a_gauge_carries_its_process_and_its_newest_value(statsd: socket.socket) -> None:
    metrics = await opened(statsd, prefix="eu.taco")
    metrics.name_process("gw-1")
    metrics.gauge(Metric.GW_SESSIONS, 1)
    metrics.gauge(Metric.GW_SESSIONS, 7)
    metrics.gauge(Metric.LOOP_WORST, -0.5)  # classic statsd reads a sign as a change, so zero comes first
    metrics.gauge(Metric.PROCESS_RSS, float("nan"))
    await metrics.close()
    assert lines(statsd) == [
        "eu.taco.gateway.sessions.gw-1:7|g",
        "eu.taco.process.loop.worst_s.gw-1:0|g",
        "eu.taco.process.loop.worst_s.gw-1:-0.5|g",
    ]


async def test_timings_are_milliseconds_and_sampled_when_they_are_many(statsd: socket.socket) -> None:
    metrics = await opened(statsd, samples=8)
    metrics.timing(Metric.API_COMMIT_SECONDS, 0.0125)
    for number in range(800):
        metrics.timing(Metric.DI_NODE_CALL_SECONDS, number / 1_000)
    await metrics.close()
    commit, *calls = lines(statsd)
    assert commit == "taco.api.commit.seconds:12.500|ms"
    assert len(calls) == 8
    assert all(line.endswith("|ms|@0.010000") for line in calls)


async def test_many_series_go_into_few_datagrams_of_bounded_size(statsd: socket.socket) -> None:
    statsd.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    metrics = await opened(statsd, datagram=1_432)
    for number in range(500):
        metrics.count(Metric.API_ACCEPTED, app=f"app-{number}")
    await metrics.close()
    found = datagrams(statsd)
    assert sum(len(datagram.split(b"\n")) for datagram in found) == 500
    assert all(len(datagram) <= 1_432 for datagram in found)
    assert len(found) <= 12


async def test_figures_come_in_time_without_being_asked_for(statsd: socket.socket) -> None:
    metrics = await opened(statsd, flush_ms=10)
    metrics.count(Metric.GW_ACK_MISSES)
    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(statsd, 2_000) == b"taco.gateway.ack.misses:1|c"
    await metrics.close()


async def test_series_over_the_bound_are_dropped_with_a_count(statsd: socket.socket) -> None:
    metrics = await opened(statsd, size=2)
    for app in ("a", "b", "c", "d", "a"):
        metrics.count(Metric.API_ACCEPTED, app=app)
    await metrics.close()
    assert sorted(lines(statsd)) == ["taco.api.accepted.a:2|c", "taco.api.accepted.b:1|c"]
    assert metrics.dropped == 2


async def test_nobody_listening_is_a_count_and_one_line(statsd: socket.socket) -> None:
    port = statsd.getsockname()[1]
    statsd.close()
    metrics = await StatsdMetrics.open("127.0.0.1", port, flush_ms=5)
    with capture_logs() as logged:
        async with asyncio.timeout(10):
            while metrics.lost < 2:
                metrics.count(Metric.GW_ACK_MISSES)
                await asyncio.sleep(0.01)
    await metrics.close()
    assert [line["event"] for line in logged] == ["metrics were lost on their way to statsd"]


async def test_a_name_that_does_not_resolve_is_in_nobodys_way() -> None:
    metrics = await StatsdMetrics.open("statsd.invalid", 8125, flush_ms=5)
    async with asyncio.timeout(20):
        while metrics.lost < 1:
            metrics.count(Metric.GW_ACK_MISSES)
            await asyncio.sleep(0.01)
    await metrics.close()
