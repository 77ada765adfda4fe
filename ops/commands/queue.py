"""`taco queue …`: what waits in the queues, and what was put aside because nobody could handle it. Works on the broker itself, beside running
programs or without them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ops.commands.options import DATA, AsJson, Data, StoresConfig
from ops.commands.output import Exit, fail
from ops.commands.stores import settings_file

if TYPE_CHECKING:
    from push_core.queues.port import Parked, Queues

T = TypeVar("T")
SHOWN = 100

group = typer.Typer(no_args_is_help=True, help="See what waits in the queues, and settle what was put aside.")
parked = typer.Typer(
    no_args_is_help=True, help="Batches that could not be handled and were put aside: list, retry, drop."
)
group.add_typer(parked, name="parked")

Store = Annotated[
    str | None, typer.Option("--queues", metavar="DSN", help="The queues.", show_default="[stores] queues")
]
Name = Annotated[
    str | None,
    typer.Option("--queue", metavar="QUEUE", help="Only this one.", show_default="all that the settings name"),
]
Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="As `list` shows it; may be repeated.")]
All = Annotated[bool, typer.Option("--all", help="All that are parked.")]


@group.command()
def depth(
    queue: Name = None, queues: Store = None, config: StoresConfig = None, data: Data = DATA, as_json: AsJson = False
) -> None:
    """Show how many batches wait in each queue, for how long the oldest has, and how many were put aside."""
    from push_core.queues.port import PARKED

    async def work(store: "Queues", names: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {
                "queue": name,
                "waiting": await store.depth(name),
                "oldest_s": round(await store.oldest_age_s(name), 1),
                "parked": await store.depth(name + PARKED),
            }
            for name in names
        ]

    found = _on_queues(queues, queue, config, data, work)
    if as_json:
        from ops.commands.output import print_json

        print_json({"queues": found})
    else:
        from ops.commands.output import print_table

        rows = [(one["queue"], one["waiting"], one["oldest_s"] or "", one["parked"]) for one in found]
        print_table(("queue", "waiting", "oldest, s", "parked"), rows)


@parked.command("list")
def list_parked(
    queue: Name = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Of each queue at most.")] = SHOWN,
    queues: Store = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Show what was put aside, oldest first: why, when, after how many tries, and the ids of the messages in it."""

    async def work(store: "Queues", names: Sequence[str]) -> list[dict[str, Any]]:
        return [_shown(name, one) for name in names for one in await store.parked(name, limit=limit)]

    found = _on_queues(queues, queue, config, data, work)
    if as_json:
        from ops.commands.output import print_json

        print_json({"parked": found})
    elif found:
        from ops.commands.output import print_pairs, when

        for number, one in enumerate(found):
            if number:
                print()
            print_pairs(one | {"at": when(one["at"]), "messages": _some(one["messages"])})
    else:
        print("nothing is parked")


@parked.command()
def retry(
    queue: Name = None,
    ids: Ids = None,
    everything: All = False,
    queues: Store = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Put parked batches back into their queues, to be handled anew. What a full queue refuses stays parked; the exit status is 1 then."""
    _settle("retried", queue, ids, everything, queues, config, data, as_json)


@parked.command()
def drop(
    queue: Name = None,
    ids: Ids = None,
    everything: All = False,
    queues: Store = None,
    config: StoresConfig = None,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Remove parked batches for good. Their messages have ended as `undeliverable`, `poison`."""
    _settle("dropped", queue, ids, everything, queues, config, data, as_json)


def _settle(
    what: str,
    queue: str | None,
    ids: list[str] | None,
    everything: bool,
    queues: str | None,
    config: Path | None,
    data: Path,
    as_json: bool,
) -> None:
    if bool(ids) == everything:
        fail("name parked batches with --id, or give --all: one of the two", Exit.USAGE)

    async def work(store: "Queues", names: Sequence[str]) -> tuple[int, int, list[str]]:
        there = {name: [one.id for one in await store.parked(name, limit=10_000)] for name in names}
        missing = [one for one in ids or [] if not any(one in known for known in there.values())]
        meant = settled = 0
        for name, known in there.items():
            chosen = [one for one in known if everything or one in (ids or ())]
            meant += len(chosen)
            if chosen:
                act = store.retry_parked if what == "retried" else store.drop_parked
                settled += await act(name, chosen)
        return meant, settled, missing

    meant, settled, missing = _on_queues(queues, queue, config, data, work)
    if as_json:
        from ops.commands.output import print_json

        print_json({what: settled, "left": meant - settled, "unknown": missing})
    else:
        print(f"{what}: {settled}")
    if missing:
        fail(f"not parked: {', '.join(missing)}")
    if settled < meant:
        fail(f"{meant - settled} stayed parked: their queue is full or was not reached; `taco queue depth` shows it")


def _shown(queue: str, one: "Parked") -> dict[str, Any]:
    return {
        "queue": queue,
        "id": one.id,
        "at": one.at,
        "tries": one.tries,
        "bytes": len(one.body),
        "messages": [str(message_id) for message_id in messages_in(one.body)],
        "reason": one.reason,
    }


def _some(messages: Sequence[str]) -> str:
    return ", ".join(messages[:3]) + (f" and {len(messages) - 3} more" if len(messages) > 3 else "")


def messages_in(body: bytes) -> list[int]:
    """The ids of the messages in a batch of envelopes or of vendor jobs, as far as it can be read."""
    import msgspec

    from push_core.envelope import split_batch

    found = []
    try:
        for raw in split_batch(body):
            parts: list[Any] = msgspec.msgpack.decode(raw, type=list[Any])
            first = parts[0] if parts else None
            if isinstance(first, list) and first:  # a vendor's job begins with its envelope
                first = first[0]
            if isinstance(first, int):
                found.append(first)
    except msgspec.DecodeError:
        pass  # that is why it is here
    return found


def _on_queues(
    dsn: str | None,
    queue: str | None,
    config: Path | None,
    data: Path,
    work: "Callable[[Queues, Sequence[str]], Awaitable[T]]",
) -> T:
    import logging
    import os

    from ops import logs
    from ops.settings import Overrides, load_all
    from push_core.adapters import open_queues
    from push_core.envelope import queue_name, vendor_queue_name
    from push_core.errors import ConfigError, TacoError
    from push_core.models import PRIORITIES

    logs.configure(as_json=True, level=logging.CRITICAL)  # what the adapter says of outages is said below

    async def run(dsn: str, names: Sequence[str]) -> T:
        store = await open_queues(dsn)
        try:
            return await work(store, names)
        finally:
            await store.close()

    config = settings_file(data, config)
    try:
        settings = load_all(data, config, os.environ, Overrides())
        dsn = dsn or settings.stores.queues
        if dsn.startswith("memory:"):
            fail(
                "the queues are memory://, inside the process of `taco up`; nothing outside can look at them",
                Exit.USAGE,
            )
        names = [queue] if queue else [
            *(queue_name(name, priority) for name in settings.dispatcher.classes for priority in PRIORITIES),
            *(vendor_queue_name(name) for name in settings.dispatcher.vendor_channels),
        ]  # fmt: skip
        return asyncio.run(run(dsn, names))
    except ConfigError as error:
        fail(str(error), Exit.USAGE)
    except ValueError as error:  # a queue's name
        fail(str(error), Exit.USAGE)
    except TacoError as error:
        fail(error.message)
