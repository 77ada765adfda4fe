"""The load client as a process: started, asked, read out. What it can do is told by `main.c`.

async with LoadClient.start() as client:
    await client.sign_in([("shop", "d-1", token)], ["127.0.0.1:8081"], codec="proto")
    …
    print((await client.counters()).acked)
"""

import asyncio
import json
import os
import struct
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from bench.client.build import program
from bench.machine import pin

_RECORD = struct.Struct("=QqII")  # `struct record` of loop.h
_NEW, _AGAIN = 1, 2
LINE_BYTES = 1 << 20


class ClientFailed(RuntimeError):
    """The load client ended, or could not do what it was told; the text is its own."""


class Record(NamedTuple):
    """A push that came (`ns`: when its frame was read) or was accepted (`ns`: when its request was due), on the clock of time.monotonic_ns.
    `device` is the place in the list of devices; `is_new`: the device had not shown this id yet."""

    id: int
    ns: int
    device: int
    is_new: bool
    again: bool


@dataclass(frozen=True, slots=True)
class ClientLag:
    """How late the client came to what it had planned: its schedule, and a timer each 5 ms. In milliseconds, -1 of nothing."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class ClientCounters:
    """Since the last `start_over`, but for `live` (devices), `waiting` (requests) and the CPU, which is that of its life. `repeats` are
    pushes of an id that their device had shown: duplicates on the wire. `ended` counts connections by close code (`lost` without one)."""

    live: int
    waiting: int
    signed_in: int
    pushes: int
    shown: int
    repeats: int
    again: int
    recalls: int
    acked: int
    undecodable: int
    unreadable: int
    offered: int
    accepted: int
    unanswered: int
    ended: dict[str, int]
    refused: dict[str, int]
    user_us: int
    system_us: int
    lag: ClientLag


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`why` is the first failure."""

    signed_in: int
    failed: int
    why: str
    seconds: float


class LoadClient:
    def __init__(self, process: Process) -> None:
        self._process = process
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._reader = asyncio.get_running_loop().create_task(self._read(), name="load client")
        self.on_accepted: Callable[[int, int], None] | None = None
        """Called with the newest accepted id and when it was due (monotonic ns), ten times a second while pushes are offered."""

    @classmethod
    @asynccontextmanager
    async def start(cls, *, core: int | None = None, pass_fds: Sequence[int] = ()) -> AsyncIterator[Self]:
        """Compiled if need be, and killed at the end. `core`: the one that it may use. Raises NoCompiler."""
        path = await asyncio.to_thread(program)
        process = await asyncio.create_subprocess_exec(
            path, stdin=PIPE, stdout=PIPE, stderr=PIPE, pass_fds=pass_fds, limit=LINE_BYTES
        )
        if core is not None:
            pin(process.pid, core)
        client = cls(process)
        try:
            yield client
        finally:
            await client._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def sign_in(
        self,
        devices: Iterable[tuple[str, str, str]],
        gateways: Sequence[str],
        *,
        codec: str = "proto",
        at_once: int = 200,
        timeout_s: float = 15.0,
    ) -> SignedIn:
        """Devices are (app, name, token), spread over the gateways (`host:port`, or `ws://` urls) in turn. Once in a client's life."""
        places = [host_and_port(gateway) for gateway in gateways]
        descriptor, name = tempfile.mkstemp(prefix="taco-devices-")
        try:
            with os.fdopen(descriptor, "w") as file:
                for number, device in enumerate(devices):
                    file.write("\t".join((*device, str(number % len(places)))) + "\n")
            answer = await self._ask(
                "devices", file=name, codec=codec, gateways=places, at_once=at_once, timeout_s=timeout_s
            )
        finally:
            os.unlink(name)  # noqa: PTH108 - a moment's work, on a path that mkstemp gave
        return SignedIn(**answer)

    async def log(self, *, seen: Path | None = None, accepted: Path | None = None) -> None:
        """Write a record of each push that comes, and of each that is accepted, from now on; without a path no more."""
        await self._ask("log", seen=str(seen or ""), accepted=str(accepted or ""))

    async def flush(self) -> None:
        """What was noted so far is in the files."""
        await self._ask("flush")

    async def progress(self, descriptor: int, *, every: int) -> None:
        """From now on the client writes how many acks it has sent (8 bytes, native order) into the pipe: each `every` acks, and when nothing
        else is to be done."""
        await self._ask("progress", fd=descriptor, every=every)

    async def offer(
        self,
        apis: Sequence[str],
        key: str,
        *,
        rate: float,
        seconds: float,
        batch: int,
        connections: int,
        seed: int,
        timeout_s: float = 10.0,
    ) -> tuple[float, float]:
        """Push to devices chosen at random, on a schedule that waits for nobody; returns with the window's end: (begin, end), monotonic
        seconds. `apis` are `host:port` or urls, `connections` at each of them."""
        answer = await self._ask(
            "offer",
            apis=[host_and_port(api) for api in apis],
            key=key,
            rate=rate,
            seconds=seconds,
            batch=batch,
            connections=connections,
            seed=seed,
            timeout_s=timeout_s,
        )
        return answer["begin_ns"] / 1e9, answer["end_ns"] / 1e9

    async def answered(self) -> None:
        """No request waits for its answer any more."""
        await self._ask("answered")

    async def counters(self) -> ClientCounters:
        answer = await self._ask("counters")
        return ClientCounters(**answer | {"lag": ClientLag(**answer["lag"])})

    async def start_over(self) -> None:
        """Counts and lags begin at nothing; devices stay connected and remember what they have shown."""
        await self._ask("start_over")

    async def close(self) -> None:
        """All devices go offline with a close frame."""
        await self._ask("close")

    async def _ask(self, do: str, **what: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        self._asked[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        if self._reader.done():
            await self._reader
        self._process.stdin.write(json.dumps({"n": number, "do": do} | what).encode() + b"\n")
        return await self._asked[number]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if said.pop("event", None) is not None:
                if self.on_accepted is not None:
                    self.on_accepted(said["id"], said["due_ns"])
            else:
                self._asked.pop(said.pop("n")).set_result(said)
        assert self._process.stderr is not None
        failed = ClientFailed((await self._process.stderr.read()).decode().strip() or "the load client ended")
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(failed)
        raise failed

    async def _end(self) -> None:
        """Nothing that is measured is left to lose: kill it."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reader, return_exceptions=True)


def host_and_port(url: str) -> str:
    """
    >>> host_and_port("ws://127.0.0.1:8081/v1/connect"), host_and_port("127.0.0.1:8081")
    ('127.0.0.1:8081', '127.0.0.1:8081')
    """
    return urlsplit(url).netloc if "://" in url else url


def records(path: Path, *, after: int = 0) -> Iterator[Record]:
    """What a file of `LoadClient.log` holds, in order, without the first `after` of them."""
    data = path.read_bytes()[after * _RECORD.size :]
    for message_id, ns, device, flags in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]):
        yield Record(message_id, ns, device, bool(flags & _NEW), bool(flags & _AGAIN))
