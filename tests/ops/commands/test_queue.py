"""`taco queue`: depths, and parked batches listed, retried and dropped, on a real broker; in sentences and exit statuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.fallback.jobs import VendorJob, encode_jobs
from ops.cluster.servers import Server
from ops.commands.queue import messages_in
from push_core.envelope import encode_batch, queue_name
from push_core.models import Priority
from push_core.queues.amqp import AmqpQueues
from push_core.queues.port import Parcel
from tests.support.amqp import amqp_queues, settings_of
from tests.support.envelopes import sample
from tests.support.terminal import Done, taco

QUEUE = queue_name("shared", Priority.HIGH)
ENVELOPE = sample(77, "d-1", app="demo", sent=0)


@pytest.fixture
def dsn(rabbit_server: Server) -> str:
    settings = settings_of(rabbit_server.dsn, length=3)
    return f"{rabbit_server.dsn}?prefix={settings.prefix}&length=3"


@pytest.fixture
async def queues(dsn: str) -> AsyncIterator[AmqpQueues]:
    base, _, options = dsn.partition("?")
    settings = settings_of(base, **dict(pair.split("=") for pair in options.split("&")))
    async with amqp_queues(settings) as queues:
        yield queues


async def queue(dsn: str, *arguments: str) -> Done:
    return await taco("queue", *arguments, "--queues", dsn)


async def test_depths_are_those_of_every_queue_that_the_settings_name(dsn: str, queues: AmqpQueues) -> None:
    await queues.publish([Parcel(QUEUE, b"x")] * 2)
    await queues.park(QUEUE, b"poison", "not readable")
    done = await queue(dsn, "depth", "--json")
    assert done.status == 0, done.err
    found = {one["queue"]: one for one in done.json()["queues"]}
    assert found[QUEUE]["waiting"] == 2
    assert found[QUEUE]["parked"] == 1
    assert found[QUEUE]["oldest_s"] >= 0
    assert {one["waiting"] for name, one in found.items() if name != QUEUE} == {0}
    assert "vendor.webhook" in found
    table = await queue(dsn, "depth", "--queue", QUEUE)
    assert "waiting" in table.out
    assert "vendor" not in table.out


async def test_parked_batches_are_shown_with_their_reasons_and_messages(dsn: str, queues: AmqpQueues) -> None:
    assert (await queue(dsn, "parked", "list")).out == "nothing is parked\n"
    await queues.park(QUEUE, encode_batch([ENVELOPE]), "ValueError: [odd]", tries=2)
    (shown,) = (await queue(dsn, "parked", "list", "--json")).json()["parked"]
    assert (shown["queue"], shown["reason"], shown["tries"], shown["messages"]) == (
        QUEUE,
        "ValueError: [odd]",
        2,
        ["77"],
    )
    assert shown["at"] > 1_700_000_000_000
    table = (await queue(dsn, "parked", "list", "--queue", QUEUE)).out
    assert shown["id"] in table
    assert "[odd]" in table


async def test_a_retry_puts_back_what_is_named(dsn: str, queues: AmqpQueues) -> None:
    for n in range(3):
        await queues.park(QUEUE, b"poison %d" % n, "not readable")
    chosen = (await queues.parked(QUEUE))[1].id
    done = await queue(dsn, "parked", "retry", "--id", chosen)
    assert (done.status, done.out) == (0, "retried: 1\n")
    assert await queues.depth(QUEUE) == 1
    done = await queue(dsn, "parked", "retry", "--id", chosen, "--json")
    assert (done.status, done.json()) == (1, {"retried": 0, "left": 0, "unknown": [chosen]})
    assert done.err == f"taco: not parked: {chosen}\n"


async def test_what_a_full_queue_refuses_stays_parked_and_is_told(dsn: str, queues: AmqpQueues) -> None:
    for n in range(4):
        await queues.park(QUEUE, b"poison %d" % n, "not readable")
    done = await queue(dsn, "parked", "retry", "--all")
    assert done.status == 1
    assert done.out == "retried: 3\n"
    assert done.err.startswith("taco: 1 stayed parked: their queue is full")
    assert [one.body for one in await queues.parked(QUEUE)] == [b"poison 3"]


async def test_dropping_is_for_good(dsn: str, queues: AmqpQueues) -> None:
    await queues.park(QUEUE, b"poison", "not readable")
    await queues.park("other", b"poison", "not readable")
    done = await queue(dsn, "parked", "drop", "--all", "--queue", QUEUE, "--json")
    assert (done.status, done.json()) == (0, {"dropped": 1, "left": 0, "unknown": []})
    assert await queues.depth(QUEUE + ".parked") == 0
    assert await queues.depth("other.parked") == 1, "of a queue that was not named"


async def test_the_queues_of_the_settings_are_meant_when_none_are_named(
    dsn: str, queues: AmqpQueues, tmp_path: Path
) -> None:
    await queues.park("push.big.low", b"poison", "not readable")
    (tmp_path / "cluster.toml").write_text(f'[stores]\nqueues = "{dsn}"\n[dispatcher]\nclasses = ["big"]\n')
    done = await taco("queue", "parked", "list", "--data", str(tmp_path), "--json")
    assert [one["queue"] for one in done.json()["parked"]] == ["push.big.low"]


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (["depth", "--queues", "memory://"], "the queues are memory://, inside the process of `taco up`", 2),
        (["depth", "--queues", "amqp://taco:hunter2@127.0.0.1:9/?timeout_ms=200"], "connection refused", 1),
        (["depth", "--queues", "amqp://h?prefetch=x"], "option prefetch must be a whole number", 2),
        (["parked", "drop", "--queues", "amqp://h"], "name parked batches with --id, or give --all", 2),
        (["parked", "retry", "--all", "--id", "1", "--queues", "amqp://h"], "one of the two", 2),
    ],
)
async def test_what_can_t_be_done_is_told_in_a_sentence(arguments: list[str], sentence: str, status: int) -> None:
    done = await taco("queue", *arguments)
    assert done.status == status
    assert sentence in done.err
    assert "hunter2" not in done.err
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1


def test_ids_are_found_in_envelopes_and_vendor_jobs_as_far_as_they_can_be_read() -> None:
    job = VendorJob(envelope=ENVELOPE, device="d-1", channel="stub", token="t")
    assert messages_in(encode_batch([ENVELOPE, ENVELOPE])) == [77, 77]
    assert messages_in(encode_jobs([job])) == [77]
    assert messages_in(b"\xc1garbage") == []
    assert messages_in(b"\x92\x91\x05\xa1x") == [5], "up to the first that is not readable"
