"""Encrypted connections end, wait and take turns as plain ones do. `tests/push_gateway/test_connection.py` runs with TLS too."""

import asyncio
import os
import socket
import ssl

import pytest
from websockets.frames import Frame, Opcode

from push_core.rpc.port import ReceiptKind, Taking
from push_gateway.connection import Connection
from push_gateway.link import READ_AT_ONCE, Link
from push_gateway.tls.transport import TlsTransport
from tests.push_gateway.support import Node, Site, offer
from tests.push_gateway.test_connection import Raw, close_code, gone
from tests.push_gateway.test_handshake import request
from tests.push_gateway.tls.test_handshake import place
from tests.support.certificates import Files


@pytest.fixture
async def node(site: Site, certificate: Files) -> Node:
    return await site.node(tls=certificate)


def transport(node: Node) -> TlsTransport:
    """Of the one connection."""
    (connection,) = node.gateway._context.registry.connections
    assert isinstance(connection, Link)
    found: object = connection._transport
    assert isinstance(found, TlsTransport)
    return found


async def test_an_idle_session_keeps_no_bytes_and_the_shared_pipes_are_empty(node: Node) -> None:
    client = await node.device()
    await client.pong()
    found = transport(node)
    assert found._cipher == b""
    assert not hasattr(found, "__dict__")
    assert found._pipes.incoming.pending == found._pipes.outgoing.pending == 0


async def test_sessions_that_share_their_pipes_never_see_one_anothers_bytes(node: Node) -> None:
    """Each is written to from within the others' reads, in pieces that end anywhere in a record."""
    clients = [await node.device(f"d-{number}", window=256) for number in range(4)]
    sent: dict[str, list[int]] = {f"d-{number}": [] for number in range(4)}

    async def talk(number: int) -> None:
        device, client = f"d-{number}", clients[number]
        for size in (1, 200, 5_000, 17_000, 40_000) * 4:
            each = offer(device, title="x" * size)
            sent[device].append(each.id)
            assert await node.deliver(each) == [Taking.ACCEPTED]
            push = await client.push()
            assert (push.id, push.title) == (each.id, "x" * size)
            await client.ack(push.id)

    await asyncio.gather(*map(talk, range(4)))
    await node.receipts.until(
        lambda receipts: sum(r.kind is ReceiptKind.RECEIVED for r in receipts.taken) == sum(map(len, sent.values()))
    )


async def test_a_flood_takes_turns_and_a_neighbour_is_heard_meanwhile(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = await node.device("neighbour")
    read, sizes, turns = Link._read, [], []
    turn = 0

    def noted(link: Link, data: bytes) -> None:
        if not isinstance(link, Connection):
            sizes.append(len(data))
            turns.append(turn)
        read(link, data)

    raw = await Raw.to(node)
    await raw.upgrade()
    monkeypatch.setattr(Link, "_read", noted)
    flood = Frame(Opcode.PING, b"").serialize(mask=True) * 20_000
    raw.write(flood)
    heard_at = None
    while sum(sizes) < len(flood):
        turn += 1
        if turn % 8 == 0:
            await neighbour.pong()
            heard_at = heard_at or sum(sizes)
        await asyncio.sleep(0)
    assert max(sizes) <= READ_AT_ONCE
    assert heard_at is not None
    assert heard_at < len(flood)
    raw.close()


async def test_after_our_last_word_a_flood_is_thrown_away_until_the_peer_hangs_up(node: Node) -> None:
    raw = await Raw.to(node)
    await raw.upgrade()
    raw.frame(b"\xff\xff")  # text that is not UTF-8
    raw.write(bytes(1 << 20))
    assert close_code(await raw.rest()) == 1007
    await gone(node)


async def test_what_was_written_before_a_close_arrives(node: Node) -> None:
    client = await node.device()
    each = offer("d-1", title="x" * 60_000)
    await node.deliver(each)
    (connection,) = node.gateway._context.registry.connections
    connection.close(4000, "bye")
    assert (await client.push()).id == each.id
    assert await client.closed() == 4000


async def test_a_forged_record_ends_the_connection_and_no_other(node: Node) -> None:
    good = await node.device("good")
    raw = await Raw.to(node)
    await raw.upgrade()
    below = raw._writer.transport.get_extra_info("socket")
    os.write(below.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    assert await raw_ended(raw)
    await good.pong()


async def raw_ended(raw: Raw) -> bool:
    try:
        await raw.rest()
    except (ssl.SSLError, ConnectionError):
        raw.close()
    return True


async def test_a_goodbye_below_websocket_is_answered(node: Node, certificate: Files) -> None:
    """close_notify without a FIN behind it: clients of OpenSSL wait for ours."""

    def connect() -> bytes:
        with (
            socket.create_connection(place(node)) as plain,
            certificate.client().wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(request())
            head = secure.recv(1_000)
            secure.unwrap()
            return head

    assert b" 101 " in await asyncio.to_thread(connect)
    await gone(node)


async def test_nothing_is_left_of_a_connection_that_vanished_while_paused(node: Node) -> None:
    raw = await Raw.to(node)
    await raw.upgrade()
    found = transport(node)
    found.pause_reading()
    for _ in range(3):
        raw.write(Frame(Opcode.PING, b"x" * 100).serialize(mask=True))
    raw.close()
    await asyncio.sleep(0.01)
    found.resume_reading()
    await gone(node)
    assert found._cipher == b""
    found.write(b"too late")
    found.close()
    found.abort()
