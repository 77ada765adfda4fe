"""Keeps child processes running: starts them, knows when they serve, starts again what dies, and ends them in an orderly way.

General on purpose: `taco cluster` keeps its programs with it, `taco gateway --workers N` its workers. Of a child it expects what the
programs do: one JSON object on one line of stdout once it serves (`{"name": …, "ports": {…}}`; whatever else it prints there goes to its
log), and an orderly end on SIGTERM.

    supervisor = Supervisor(on_change=lambda child: rewrite(supervisor.children))
    for spec in specs:
        supervisor.start(spec)
    try:
        await supervisor.ready(within_s=60)  # each said its line; `child.said` is what
        await told_to_stop.wait()
    finally:
        await supervisor.stop(grace_s=10)  # all at once; name some to do it in an order

Use it from the main thread's loop: children die with the thread that started them (`ops.cluster.ending`), so that none is left when this
process is killed. A Ctrl-C in the terminal does not reach them, they are in sessions of their own.
"""

import asyncio
import enum
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import structlog

from ops.cluster.ending import dies_with_parent

log = structlog.get_logger(__name__)

LOG_BYTES = 32 << 20  # a log that is longer when its program starts is put aside, in the place of the one before
LINE_BYTES = 1 << 20
_LAST_WORDS_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Spec:
    """A child to keep. `env` is added to our own environment. `log` takes its stderr, None: it shares ours."""

    name: str
    role: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    log: Path | None = None
    inherit: Sequence[int] = ()  # file descriptors that it gets under the same numbers


class State(enum.StrEnum):
    STARTING = "starting"  # it runs and has not said that it serves
    READY = "ready"
    PAUSING = "pausing"  # it died; it is started again after a pause
    STOPPED = "stopped"  # on demand, for good


@dataclass(slots=True)
class Child:
    """One spec and its present life. `said` is its line of this life."""

    spec: Spec
    state: State = State.STARTING
    pid: int | None = None
    said: Mapping[str, Any] | None = None
    lives: int = 0
    served: bool = False  # in any of its lives
    status: int | None = None  # how its last life ended; negative: by that signal

    @property
    def running(self) -> bool:
        return self.pid is not None


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long to wait before something that died is started again: doubled from `first_s` to `longest_s`, and from the beginning when it
    had run for `steady_s`."""

    first_s: float = 0.2
    longest_s: float = 10.0
    steady_s: float = 30.0

    def next(self, last_s: float | None, ran_s: float) -> float:
        """`last_s`: the pause before the life that ended now, None for the first."""
        if last_s is None or ran_s >= self.steady_s:
            return self.first_s
        return min(last_s * 2, self.longest_s)


class ChildFailed(RuntimeError):
    """A child ended by itself before it ever served, or did not serve in time. `status` is its exit status, None: it still runs."""

    def __init__(self, child: Child, sentence: str) -> None:
        super().__init__(f"{child.spec.name} {sentence}")
        self.status = child.status


class Supervisor:
    def __init__(
        self,
        on_change: Callable[[Child], None] = lambda _: None,
        *,
        pauses: Pauses = Pauses(),
    ) -> None:
        """`on_change` is called on the loop when a child's `state`, `pid` or `said` changed; it may look at all `children`."""
        self._on_change = on_change
        self._pauses = pauses
        self._children: dict[str, _Kept] = {}
        self._changed = asyncio.Event()

    @property
    def children(self) -> list[Child]:
        return [kept.child for kept in self._children.values()]

    def start(self, spec: Spec) -> Child:
        """Begin to keep it; returns at once. Raises ValueError for a name that is kept already."""
        if spec.name in self._children:
            raise ValueError(f"{spec.name} is kept already")
        kept = self._children[spec.name] = _Kept(spec, self._pauses, self._tell)
        return kept.child

    async def ready(self, *names: str, within_s: float) -> None:
        """Wait until these (all, if none is named) serve. Raises ChildFailed with the last words of one that ended by itself before it ever
        served (one that a signal ended is started again), or that doesn't serve in time."""
        children = [self._children[name].child for name in names] if names else self.children
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            for child in children:
                if (
                    child.said is None
                    and child.lives == 1
                    and child.state is State.PAUSING
                    and (child.status or 0) >= 0
                ):
                    raise ChildFailed(child, f"ended with status {child.status}{_last_words(child.spec.log)}")
            waiting = [child for child in children if child.state is not State.READY]
            if not waiting:
                return
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                child = waiting[0]
                raise ChildFailed(child, f"does not serve after {within_s:g} s{_last_words(child.spec.log)}") from None

    async def stop(self, *names: str, grace_s: float) -> None:
        """End these (all, if none is named) for good, at the same time: SIGTERM, and SIGKILL for what is left after `grace_s`."""
        kept = [self._children[name] for name in names or list(self._children) if name in self._children]
        await asyncio.gather(*(each.stop(grace_s) for each in kept))

    def _tell(self, child: Child) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        try:
            self._on_change(child)
        except Exception:  # the supervised edge: who is told must not end the keeping (a full disk, say)
            log.exception("nobody could be told of a change", name=child.spec.name, state=child.state)


class _Kept:
    """One child and the task that keeps it."""

    def __init__(self, spec: Spec, pauses: Pauses, tell: Callable[[Child], None]) -> None:
        self.child = Child(spec)
        self._pauses = pauses
        self._tell = tell
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=f"keep {spec.name}")

    async def stop(self, grace_s: float) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that is held would not hear of it
        _, running = await asyncio.wait({self._task}, timeout=grace_s)
        if running:
            log.warning("a process did not end in time and is killed", name=self.child.spec.name, seconds=grace_s)
            self._signal(signal.SIGKILL)
        await self._task

    async def _keep(self) -> None:
        child, loop = self.child, asyncio.get_running_loop()
        pause_s: float | None = None
        while not self._stopping.is_set():
            began = loop.time()
            child.lives += 1
            self._become(State.STARTING)
            try:
                child.status = await self._live()
            except OSError as error:  # it can't be started at all
                child.status = error.errno
                log.error("a process can't be started", name=child.spec.name, reason=str(error))  # noqa: TRY400 - no traceback
            if self._stopping.is_set():
                break
            pause_s = self._pauses.next(pause_s, loop.time() - began)
            log.warning(
                "a process ended; it is started again", name=child.spec.name, status=child.status, pause_s=pause_s
            )
            child.said = None
            self._become(State.PAUSING)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
        self._become(State.STOPPED)

    async def _live(self) -> int:
        """One life, up to its exit status."""
        spec, child = self.child.spec, self.child
        output = _open_log(spec.log)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *dies_with_parent(),
                *spec.argv,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=output,
                env={**os.environ, **spec.env},
                start_new_session=True,
                pass_fds=spec.inherit,
                limit=LINE_BYTES,
            )
            child.pid = process.pid
            self._tell(child)
            if self._stopping.is_set():  # told between the two
                self._signal(signal.SIGTERM)
            await self._listen(process, output)
            return await process.wait()
        except BaseException:
            self._signal(signal.SIGKILL)  # nobody keeps it any more, and there must not be two of it
            raise
        finally:
            self._process = None
            child.pid = None
            if output is not None:
                output.close()

    async def _listen(self, process: Process, output: FileIO | None) -> None:
        """Its stdout until it closes that: its line, and what else it says."""
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # longer than a line can be
                continue
            if not line:
                return
            said = _parse(line) if self.child.said is None else None
            if said is not None:
                self.child.said, self.child.served = said, True
                self._become(State.READY)
            elif output is not None:
                with suppress(OSError):  # a full disk costs the line, not the child
                    output.write(line)

    def _become(self, state: State) -> None:
        self.child.state = state
        self._tell(self.child)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def _parse(line: bytes) -> Mapping[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _open_log(path: Path | None) -> FileIO | None:
    """Without a buffer: what could not be written would be in the way of all that follows, and of closing it."""
    if path is None:
        return None
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(path.name + ".old"))
    return path.open("ab", buffering=0)


def _last_words(path: Path | None) -> str:
    """The end of a log as part of a sentence; "" when there is none."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
            said = file.read().decode(errors="replace").strip().splitlines()[-3:]
    except OSError:
        return ""
    return f"; its log is {path}, which ends: {' | '.join(said)}" if said else f"; its log is {path}"
