"""A certificate that changes while devices are connected: new handshakes get it, nobody loses the session."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from tests.push_gateway.support import Client, Node, Site, offer
from tests.support.certificates import Authority, Files

DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Files:
    return authority.issue("127.0.0.1", ends=3 * DAY)


@pytest.fixture
async def node(site: Site, issued: Files) -> Node:
    node = await site.node(tls=issued, tls_check_s=0.02)
    assert node.url.startswith("wss://127.0.0.1:")
    return node


def serial(client: Client) -> str:
    """Of the certificate that it was shown."""
    found: ssl.SSLObject = client.socket.transport.get_extra_info("ssl_object")
    certificate = found.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def metrics(node: Node) -> MemoryMetrics:
    found = node.ports.metrics
    assert isinstance(found, MemoryMetrics)
    return found


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.005)


async def test_new_handshakes_get_the_new_certificate_and_old_sessions_live_on(
    node: Node, authority: Authority
) -> None:
    before = await node.device("before")
    authority.issue("127.0.0.1", ends=9 * DAY)  # into the same files
    await until(lambda: metrics(node).counted(Metric.GW_TLS_RELOADS, outcome="taken") >= 1)
    await asyncio.sleep(0.05)  # the key may have been written after a look at the certificate: one more look sees both
    after = await node.device("after")
    assert serial(after) != serial(before)
    for device, client in (("before", before), ("after", after)):
        sent = offer(device)
        await node.deliver(sent)
        assert (await client.push()).id == sent.id
    left_s = metrics(node).newest(Metric.GW_TLS_EXPIRES)
    assert left_s is not None
    assert 8 * DAY.total_seconds() < left_s <= 9 * DAY.total_seconds()


async def test_a_sighup_is_not_waited_for(site: Site, authority: Authority, issued: Files) -> None:
    node = await site.node(tls=issued, tls_check_s=3_600.0)
    first = await node.device("first")
    authority.issue("127.0.0.1")
    node.gateway.reload()
    await until(lambda: metrics(node).counted(Metric.GW_TLS_RELOADS, outcome="taken") == 1)
    assert serial(await node.device("second")) != serial(first)


async def test_what_makes_no_sense_is_refused_and_the_old_one_goes_on(
    node: Node, issued: Files, authority: Authority
) -> None:
    first = await node.device("first")
    issued.cert.write_text("half a certifica")
    await until(lambda: metrics(node).newest(Metric.GW_TLS_REFUSED) == 1)
    assert serial(await node.device("second")) == serial(first)
    counted = metrics(node).counted(Metric.GW_TLS_RELOADS, outcome="refused")
    await asyncio.sleep(0.1)
    assert (
        metrics(node).counted(Metric.GW_TLS_RELOADS, outcome="refused") == counted == 1
    )  # said once, not at every look
    authority.issue("127.0.0.1")
    await until(lambda: metrics(node).newest(Metric.GW_TLS_REFUSED) == 0)
    assert serial(await node.device("third")) != serial(first)


@pytest.mark.parametrize(("begins", "ends"), [(-2 * DAY, -DAY), (DAY, 2 * DAY)], ids=["expired", "not yet"])
async def test_one_that_no_client_would_take_is_refused(
    node: Node, authority: Authority, begins: timedelta, ends: timedelta
) -> None:
    first = await node.device("first")
    authority.issue("127.0.0.1", begins=begins, ends=ends)
    await until(lambda: metrics(node).newest(Metric.GW_TLS_REFUSED) == 1)
    await asyncio.sleep(0.05)
    assert serial(await node.device("second")) == serial(first)


async def test_files_that_vanish_change_nothing(node: Node, issued: Files) -> None:
    issued.cert.unlink()
    await until(lambda: metrics(node).newest(Metric.GW_TLS_REFUSED) == 1)
    await node.device()


async def test_a_gateway_starts_with_one_that_has_expired(site: Site, authority: Authority) -> None:
    """Some clients may still be let in by it, none by a gateway that does not run; the alarm is the same."""
    node = await site.node(tls=authority.issue("127.0.0.1", begins=-2 * DAY, ends=-DAY))
    left_s = metrics(node).newest(Metric.GW_TLS_EXPIRES)
    assert left_s is not None
    assert left_s < 0
