"""`taco debug …`: what a running process is doing. It reads the admin port, which costs the process next to nothing; a process whose loop
is held does not answer there, but a signal still makes it write its stacks."""

import os
import signal
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ops.commands.options import AsJson
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.processes import (
    FOLDER,
    TIMEOUT_S,
    Admin,
    Config,
    Data,
    Name,
    NoAnswer,
    Process,
    ask,
    chosen,
    cluster_key,
)

group = typer.Typer(no_args_is_help=True, help="Look inside a running process: its tasks, its stacks, its memory.")
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Lines at most.")]


@group.command()
def tasks(
    admin: Admin = None,
    name: Name = None,
    of: Annotated[str, typer.Option("--of", metavar="TEXT", help="Only tasks whose name has this in it.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Each group's whole stack.")] = False,
    limit: Limit = 40,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show every asyncio task: what it is called, how old it is, where it waits. Those of one kind that wait at one place are one line."""
    query = {"limit": str(limit), **({"name": of} if of else {})}
    found = _page("tasks", query, chosen(admin, name, data), cluster_key(data, config))
    if as_json:
        print_json(found)
        return
    print(f"{found['tasks']} tasks")
    _print_lines(
        ("count", "oldest", "task", "waits at"),
        [(str(group["count"]), _age(group["oldest_s"]), group["name"], group["at"]) for group in found["groups"]],
    )
    if full:
        for group in found["groups"]:
            _print_stack(f"{group['name']} ×{group['count']}", group["stack"])
    if found["groups_left_out"]:
        print(f"{found['groups_left_out']} more kinds; see them with --limit")


@group.command()
def stacks(
    admin: Admin = None,
    name: Name = None,
    seconds: Annotated[
        int,
        typer.Option("--seconds", min=0, max=30, help="Sample for so long and show where the time went; 0: only now."),
    ] = 0,
    by_signal: Annotated[
        bool,
        typer.Option(
            "--signal", help="Send SIGUSR1: the process writes all stacks to its own log, even with its loop held."
        ),
    ] = False,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what every thread is doing, and the last stacks that held the event loop."""
    process = chosen(admin, name, data)
    if by_signal:
        _signal(process)
        return
    query = {"seconds": str(seconds)} if seconds else {}
    found = _page("stacks", query, process, cluster_key(data, config), timeout_s=TIMEOUT_S + seconds)
    if as_json:
        print_json(found)
        return
    for hold in found["holds"]:
        held, cpu = hold["held_s"], hold["cpu_s"]
        _print_stack(f"held the loop for {held:.3f} s and longer, {cpu:.3f} s of it on the CPU", hold["stack"])
    if seconds:
        for sample in sorted(found["samples"], key=lambda sample: sample["thread"] != "event loop"):
            _print_stack(f"{sample['share']:.0%} of {sample['thread']}", sample["stack"])
        return
    for thread in found["threads"]:
        _print_stack(f"thread {thread['name']}", thread["stack"])


@group.command()
def heap(
    admin: Admin = None,
    name: Name = None,
    by: Annotated[str, typer.Option("--by", help="Order: bytes or count.")] = "bytes",
    limit: Limit = 30,
    data: Data = FOLDER,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show what fills the memory: objects by type; and by line, if the process was started with PYTHONTRACEMALLOC=1."""
    query = {"limit": str(min(limit, 1_000)), "by": by}
    found = _page("heap", query, chosen(admin, name, data), cluster_key(data, config), timeout_s=6 * TIMEOUT_S)
    if as_json:
        print_json(found)
        return
    print(
        f"resident {_size(found['rss_bytes'])}, at most {_size(found['peak_rss_bytes'])}; "
        f"{found['objects']:,} objects of Python, {found['frozen']:,} more since the start"
    )
    print_table(
        ("count", "size", "type"),
        ((f"{line['count']:,}", _size(line["bytes"]), line["type"]) for line in found["types"]),
    )
    if found["tracemalloc"] is not None:
        print_table(
            ("blocks", "size", "allocated at"),
            ((f"{line['count']:,}", _size(line["bytes"]), line["at"]) for line in found["tracemalloc"]),
        )


def _page(page: str, query: dict[str, str], process: Process, key: str, timeout_s: float = TIMEOUT_S) -> Any:
    called = process.name or process.admin
    if not process.admin:
        fail(
            f"{called} has no admin port (setting admin.port); its stacks: kill -USR1 {process.pid}, they come in its log"
        )
    if not key:
        fail("no cluster key: set TACO_STORES_CLUSTER_KEY, or name the folder with cluster.key by --data", Exit.USAGE)
    try:
        answer = ask(process.admin, f"/debug/{page}", key=key, query=query, timeout_s=timeout_s)
    except NoAnswer as error:
        way_out = f"kill -USR1 {process.pid}" if process.pid else "kill -USR1 PID"
        fail(f"{called} ({process.admin}): {error}. If its loop is held: {way_out} writes all stacks to its log")
    if answer.status == 401:
        fail(f"{called} ({process.admin}) has another cluster key")
    if answer.status != 200:
        fail(
            f"{called} ({process.admin}) answered {answer.status}: {_reason(answer.value)}",
            Exit.USAGE if answer.status == 400 else Exit.FAILED,
        )
    return answer.value


def _reason(value: Any) -> str:
    try:
        return str(value["error"]["message"])
    except (KeyError, TypeError):
        return "is this an admin port?"


def _signal(process: Process) -> None:
    if not process.pid:
        fail("--signal needs a process id: give --name instead of --admin, or kill -USR1 PID yourself", Exit.USAGE)
    try:
        os.kill(process.pid, signal.SIGUSR1)
    except ProcessLookupError:
        fail(f"{process.name}: process {process.pid} is gone")
    except PermissionError:
        fail(f"{process.name}: process {process.pid} is somebody else's; run this as the user who owns it")
    print(f"process {process.pid} ({process.name}) writes its stacks to its log; a stopped one does when it runs again")


def _print_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose cells are whole, however narrow the terminal: a place in the code that is cut off is of no use."""
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns) - 1)]
    for row in (columns, *rows):
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def _print_stack(title: str, stack: list[str]) -> None:
    print(f"\n{title}")
    for line in stack:
        print(f"  {line}")


def _age(seconds: float | None) -> str:
    """
    >>> _age(0.5), _age(75), _age(8000), _age(None)
    ('0.5 s', '1 min 15 s', '2 h 13 min', '')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3_600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3_600)} h {int(seconds % 3_600 // 60)} min"


def _size(n: int) -> str:
    """
    >>> _size(500), _size(20_000), _size(3_000_000_000)
    ('500 B', '19.5 KiB', '2,861.0 MiB')
    """
    if n < 1_024:
        return f"{n} B"
    return f"{n / 1_024:,.1f} KiB" if n < 1_048_576 else f"{n / 1_048_576:,.1f} MiB"
