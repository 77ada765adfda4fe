"""Handshakes that succeed, fail, dawdle, flood and crowd."""

import asyncio
import socket
import ssl
import time
from pathlib import Path

import pytest
from websockets.exceptions import InvalidMessage

from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_gateway.tls import handshake
from push_gateway.tls.handshake import Handshake
from tests.push_gateway.support import Node, Site, offer
from tests.push_gateway.test_connection import Raw, gone
from tests.support.certificates import Authority, Files

ENDED = (ConnectionError, asyncio.IncompleteReadError)
REFUSED = (ssl.SSLError, ConnectionError, InvalidMessage)


@pytest.fixture
async def node(site: Site, certificate: Files) -> Node:
    return await site.node(tls=certificate)


def outcomes(node: Node) -> dict[str, int]:
    node.gateway._context.counters.flush()
    metrics = node.ports.metrics
    assert isinstance(metrics, MemoryMetrics)
    kinds = ("full", "resumed", "timeout", "gone", "failed", *handshake.REASONS.values())
    found = {kind: metrics.counted(Metric.GW_TLS_HANDSHAKES, outcome=kind) for kind in kinds}
    return {kind: count for kind, count in found.items() if count}


async def tell(node: Node) -> dict[str, int]:
    """Waits for one outcome."""
    while not (found := outcomes(node)):
        await asyncio.sleep(0.005)
    return found


def place(node: Node) -> tuple[str, int]:
    host, port = node.url.partition("//")[2].partition("/")[0].split(":")
    return host, int(port)


async def plain(node: Node) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the TLS port, without TLS."""
    return await asyncio.open_connection(*place(node))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_device_signs_in_and_is_pushed_to(node: Node, version: ssl.TLSVersion, certificate: Files) -> None:
    node.tls = certificate.client()
    node.tls.minimum_version = node.tls.maximum_version = version
    client = await node.device()
    found: ssl.SSLObject = client.socket.transport.get_extra_info("ssl_object")
    assert found.version() == version.name.replace("_", ".")
    sent = offer("d-1", title="x" * 50_000)  # several records
    await node.deliver(sent)
    push = await client.push()
    assert push.id == sent.id
    await client.ack(push.id)
    await client.pong()
    assert outcomes(node) == {"full": 1}


async def test_a_client_that_speaks_no_tls_is_told_apart(node: Node) -> None:
    reader, writer = await plain(node)
    writer.write(b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.read(-1)
    writer.close()
    assert await tell(node) == {"not_tls": 1}
    await gone(node)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
async def test_old_versions_are_refused(node: Node, certificate: Files) -> None:
    old = certificate.client()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(*place(node), ssl=old)
    assert await tell(node) == {"too_old": 1}


async def test_a_client_that_does_not_believe_us_is_counted(node: Node, tmp_path: Path) -> None:
    stranger = ssl.create_default_context(cafile=str(Authority(tmp_path, "a stranger").ca))

    def connect() -> None:  # asyncio's and uvloop's clients keep the reason to themselves
        with socket.create_connection(place(node)) as plain:
            stranger.wrap_socket(plain, server_hostname="127.0.0.1")

    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(connect)
    assert await tell(node) == {"distrusted": 1}


async def test_alpn_is_http_1(node: Node, certificate: Files) -> None:
    context = certificate.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection(*place(node), ssl=context)
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
    writer.transport.abort()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a hello"])
async def test_who_dawdles_is_closed(site: Site, certificate: Files, said: bytes) -> None:
    node = await site.node(tls=certificate, tls_handshake_timeout_s=0.05)
    reader, writer = await plain(node)
    writer.write(said)
    with pytest.raises(ENDED):
        await reader.readexactly(1)
    writer.close()
    assert await tell(node) == {"timeout": 1}
    await gone(node)


async def test_a_port_check_counts_as_nothing(node: Node) -> None:
    _, writer = await plain(node)
    while not node.gateway._context.registry.connections:
        await asyncio.sleep(0)
    writer.close()
    await gone(node)
    assert outcomes(node) == {}


async def test_a_hello_without_an_end_is_cut_off(node: Node) -> None:
    """A client may say that its hello has 16 MiB, in records that each are in order."""
    reader, writer = await plain(node)
    record = b"\x16\x03\x01\x40\x00"
    writer.write(record + b"\x01\xff\xff\xff" + bytes(0x4000 - 4))
    try:
        for _ in range(100):
            writer.write(record + bytes(0x4000))
            await writer.drain()
        await reader.read(-1)
    except ConnectionError:
        pass
    writer.transport.abort()
    assert await tell(node) == {"failed": 1}
    await gone(node)


async def test_a_connection_too_many_is_closed_before_it_costs_a_handshake(site: Site, certificate: Files) -> None:
    node = await site.node(tls=certificate, max_connections=1)
    await node.device()
    reader, writer = await plain(node)
    with pytest.raises(ENDED):
        await reader.readexactly(1)
    writer.close()
    assert outcomes(node) == {"full": 1}


async def test_a_ticket_saves_a_reconnect_half_the_handshake(node: Node, certificate: Files) -> None:
    """asyncio's own client does not resume; phones do."""
    context = certificate.client()

    def connect(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with (
            socket.create_connection(place(node)) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure,
        ):
            secure.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(100).startswith(b"HTTP/1.1 200")
            assert secure.session_reused is (session is not None)
            return secure.session  # TLS 1.3 sends its ticket after the handshake

    session = await asyncio.to_thread(connect, None)
    await asyncio.to_thread(connect, session)
    assert outcomes(node) == {"full": 1, "resumed": 1}


@pytest.mark.parametrize("clients", ["optional", "required"])
async def test_certificates_of_clients(site: Site, clients: str, certificate: Files, tmp_path: Path) -> None:
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others", "others")
    node = await site.node(tls=certificate, tls_clients=clients, tls_client_ca=ours.ca)
    node.tls = certificate.client()
    node.tls.load_cert_chain(*_pair(ours.issue("phone")))
    await node.device("with")
    node.tls = certificate.client()
    if clients == "optional":
        await node.device("without")
    else:
        with pytest.raises(REFUSED):  # TLS 1.3: told when it first reads
            await node.device("without")
    node.tls.load_cert_chain(*_pair(others.issue("phone")))
    with pytest.raises(REFUSED):
        await node.device("of another authority")
    expected = {"full": 2, "client_certificate": 1} if clients == "optional" else {"full": 1, "client_certificate": 2}
    assert outcomes(node) == expected


def _pair(files: Files) -> tuple[Path, Path]:
    return files.cert, files.key


async def test_a_crowd_of_handshakes_leaves_turns_to_others(
    node: Node, certificate: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage: all of them are there before the first has had its turn."""
    steps: list[int] = []
    turn = 0
    step = Handshake.step

    def noted(self: Handshake) -> None:
        steps.append(turn)
        step(self)

    monkeypatch.setattr(Handshake, "step", noted)
    host, port = place(node)
    hello = _client_hello(certificate)
    sockets = [socket.create_connection((host, port)) for _ in range(40)]
    for each in sockets:
        each.sendall(hello)
    time.sleep(0.05)  # noqa: ASYNC251 - the loop must find all of them at once
    while len(steps) < len(sockets):
        turn += 1
        await asyncio.sleep(0)
    assert (
        max(steps.count(each) for each in steps) <= 2 * handshake.A_TURN
    )  # our turns and the loop's may differ by one
    for each in sockets:
        each.close()
    await gone(node)


def _client_hello(certificate: Files) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificate.client().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_a_node_that_stops_waits_for_no_handshake(node: Node) -> None:
    reader, writer = await plain(node)
    while not node.gateway._context.registry.connections:
        await asyncio.sleep(0)
    await node.gateway.stop(1.0)
    with pytest.raises(ENDED):
        await reader.readexactly(1)
    writer.close()


async def test_what_comes_with_the_end_of_the_handshake_is_heard(node: Node) -> None:
    """A client's last word of the handshake and its request are one segment when it is quick."""
    raw = await Raw.to(node)
    raw.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await raw.rest()).startswith(b"HTTP/1.1 200 ")
