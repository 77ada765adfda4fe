"""Child processes that are kept: when they count as serving, what happens when they die, and how they end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ops.cluster.supervisor import Child, ChildFailed, Pauses, Spec, State, Supervisor
from tests.ops.cluster.test_servers import gone

SERVES = """echo "{\\"name\\":\\"$NAME\\",\\"ports\\":{}}"; exec sleep 1000"""
QUICK = Pauses(first_s=0.01, longest_s=0.05, steady_s=60)


def shell(name: str, script: str, log: Path | None = None) -> Spec:
    return Spec(name, "test", ("sh", "-c", script), {"NAME": name}, log)


async def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def changes() -> list[tuple[str, State, bool]]:
    return []


@pytest.fixture
async def supervisor(changes: list[tuple[str, State, bool]]) -> AsyncIterator[Supervisor]:
    def note(child: Child) -> None:
        changes.append((child.spec.name, child.state, child.running))

    supervisor = Supervisor(note, pauses=QUICK)
    yield supervisor
    await supervisor.stop(grace_s=0)


async def test_a_child_serves_once_it_says_so(
    supervisor: Supervisor, changes: list[tuple[str, State, bool]], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = supervisor.start(shell("one", "echo chatter; echo trouble >&2; " + SERVES, log))
    await supervisor.ready(within_s=20)
    assert child.said == {"name": "one", "ports": {}}
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid  # a Ctrl-C in our terminal is not for it
    assert set(log.read_text().split()) == {"chatter", "trouble"}
    assert changes == [("one", State.STARTING, False), ("one", State.STARTING, True), ("one", State.READY, True)]
    with pytest.raises(ValueError, match="one is kept already"):
        supervisor.start(shell("one", SERVES))


async def test_what_dies_is_started_again(supervisor: Supervisor) -> None:
    child, other = supervisor.start(shell("one", SERVES)), supervisor.start(shell("two", SERVES))
    await supervisor.ready(within_s=20)
    first, neighbour = child.pid, other.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.lives == 2 and child.state is State.READY)
    assert child.pid != first
    assert child.status == -signal.SIGKILL
    assert (other.pid, other.lives) == (neighbour, 1)


async def test_between_two_lives_it_has_neither_pid_nor_ports(changes: list[tuple[str, State, bool]]) -> None:
    seen: list[tuple[State, object, object]] = []
    supervisor = Supervisor(lambda child: seen.append((child.state, child.pid, child.said)), pauses=Pauses(first_s=600))
    child = supervisor.start(shell("one", SERVES))
    await supervisor.ready(within_s=20)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child.state is State.PAUSING)
    assert seen[-1] == (State.PAUSING, None, None)
    await supervisor.stop(grace_s=20)  # the pause does not hold it up
    assert seen[-1] == (State.STOPPED, None, None)


async def test_a_child_that_ends_by_itself_at_first_is_a_failure_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start(shell("one", "echo '[api] port: is taken' >&2; exit 2", tmp_path / "log"))
    with pytest.raises(
        ChildFailed, match=r"one ended with status 2; its log is .*, which ends: \[api\] port: is taken"
    ) as raised:
        await supervisor.ready(within_s=20)
    assert raised.value.status == 2


async def test_a_child_that_never_serves_is_a_failure_that_says_so(supervisor: Supervisor) -> None:
    supervisor.start(shell("one", "exec sleep 1000"))
    with pytest.raises(ChildFailed, match=r"one does not serve after 0.05 s"):
        await supervisor.ready(within_s=0.05)


async def test_a_program_that_is_not_there_is_a_failure(supervisor: Supervisor) -> None:
    supervisor.start(Spec("one", "test", ("/nowhere/at/all",)))
    with pytest.raises(ChildFailed, match="one ended with status"):
        await supervisor.ready(within_s=20)


async def test_one_that_does_not_heed_sigterm_is_killed(supervisor: Supervisor) -> None:
    stubborn = supervisor.start(shell("stubborn", "trap '' TERM; " + SERVES))
    await supervisor.ready(within_s=20)
    await supervisor.stop("stubborn", grace_s=0.05)
    assert (stubborn.state, stubborn.status, stubborn.pid) == (State.STOPPED, -signal.SIGKILL, None)


async def test_one_that_is_held_can_be_stopped(supervisor: Supervisor) -> None:
    child = supervisor.start(shell("held", SERVES))
    await supervisor.ready(within_s=20)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await supervisor.stop(grace_s=20)
    assert child.status == -signal.SIGTERM


async def test_some_are_stopped_before_the_others(supervisor: Supervisor) -> None:
    first, second = supervisor.start(shell("first", SERVES)), supervisor.start(shell("second", SERVES))
    await supervisor.ready(within_s=20)
    await supervisor.stop("first", grace_s=20)
    assert (first.state, second.state) == (State.STOPPED, State.READY)


async def test_a_long_log_is_put_aside_at_the_next_start(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.cluster.supervisor.LOG_BYTES", 10)
    log = tmp_path / "log"
    log.write_text("long, long ago")
    supervisor.start(shell("one", "echo now >&2; " + SERVES, log))
    await supervisor.ready(within_s=20)
    assert log.read_text() == "now\n"
    assert (tmp_path / "log.old").read_text() == "long, long ago"


def test_the_pause_doubles_up_to_a_bound_and_begins_anew_after_a_steady_life() -> None:
    pauses = Pauses()
    taken: list[float] = []
    last: float | None = None
    for _ in range(8):
        last = pauses.next(last, ran_s=1.0)
        taken.append(last)
    assert taken == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert pauses.next(10.0, ran_s=30.0) == 0.2


_KEEPS = """
import asyncio, sys
from ops.cluster.supervisor import Spec, Supervisor
async def main():
    supervisor = Supervisor()
    child = supervisor.start(Spec("one", "test", ("sh", "-c", 'echo "{}"; exec sleep 1000')))
    await supervisor.ready(within_s=20)
    print(child.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_children_die_with_a_supervisor_that_is_killed() -> None:
    keeper = subprocess.Popen([sys.executable, "-c", _KEEPS], stdout=subprocess.PIPE, text=True)
    assert keeper.stdout is not None
    pid = int(keeper.stdout.readline())
    keeper.kill()
    keeper.communicate()
    assert gone(pid)


async def test_a_full_disk_does_not_make_two_of_a_child() -> None:
    told: list[int | None] = []

    def write_who_runs(child: Child) -> None:
        told.append(child.pid)
        raise OSError(28, "No space left on device")

    supervisor = Supervisor(write_who_runs, pauses=QUICK)
    child = supervisor.start(shell("one", "echo chatter; " + SERVES, Path("/dev/full")))
    try:
        await supervisor.ready(within_s=20)
        assert child.lives == 1
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.lives == 2 and child.state is State.READY)
        assert {pid for pid in told if pid is not None} == {first, child.pid}
    finally:
        await supervisor.stop(grace_s=0)
