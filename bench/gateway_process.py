"""The gateway that `bench.gateway` measures: a process of its own, with stand-ins for neighbours, that makes and offers messages to itself.

Obeys lines of JSON on stdin, `{"do": …}`, and answers each with one. Two pipes come with it: how many acks the devices have sent (so that a
closed loop goes on without asking), and the instants at which paced messages are due.

What is counted is the process's CPU less what making the messages took: the gateway gets them made.
"""

import asyncio
import json
import os
import resource
import struct
import sys
from array import array
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, thread_time
from typing import Any, Self, cast

import uvloop

from bench.broadcast_turns import Cast, Turns
from bench.gateway_neighbours import APP, Dispatchers, Presence, Stores
from bench.machine import pin
from ops.process import allow_many_connections, settle_collector
from ops.process_settings import ProcessSettings
from push_core.adapters import Ports
from push_core.clock import Clock, wall_ms
from push_core.control.watch import ControlWatch
from push_core.ids import make_id
from push_core.metrics.null import NullMetrics
from push_core.rpc import port as broadcasts
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import Broadcast, Deliver, Offer, Stage, Subscription, Taking
from push_gateway.app import Gateway
from push_gateway.settings import GatewaySettings

QUIET_S = 10.0
"""A closed loop in which no ack comes for so long is over: something is broken."""
CONTENT_BYTES = 200
TOPIC = "everybody"
_DUE, _COUNT = struct.Struct("=q"), struct.Struct("=Q")
_TITLE, _DATA = b"Order is ready", b'{"order":"%08d"}'
_PUSH = (
    b'{"id":"%%d","kind":"notification","title":"%s","body":"%s","data":%s,"priority":"normal","sent":%%d,"expires":%%d}'
    % (_TITLE, b"x" * (CONTENT_BYTES - len(_TITLE) - len(_DATA % 0)), _DATA)
)


@dataclass(frozen=True, slots=True)
class Work:
    """What a piece of work came to. `offered` and the rest count deliveries (a message for one device); `user_s` and `system_s` are the process's
    CPU without `making_s`, `seconds` the time until the devices had sent the last ack."""

    offered: int
    accepted: int
    acked: int
    user_s: float
    system_s: float
    making_s: float
    seconds: float

    @property
    def remainder(self) -> int:
        return self.accepted - self.acked

    def us_per(self, what: float) -> float:
        """Microseconds of CPU per delivery of `user_s`, `system_s` or their sum."""
        return round(what * 1e6 / self.acked, 2) if self.acked else 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    user_s: float
    system_s: float

    @classmethod
    def now(cls) -> Self:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return cls(used.ru_utime, used.ru_stime)


_Offering = Callable[..., Awaitable[tuple[int, int]]]
"""Offers messages; how many deliveries were offered and accepted."""


# ── in the process ──────────────────────────────────────────────────────────────────────────────────────────────────


class Server:
    def __init__(self, progress: int, pace: int) -> None:
        self._progress, self._pace = progress, pace
        self._dispatchers = Dispatchers()
        self._issued = 0
        self._making_s = 0.0
        self._sent = 0  # acks that the devices have sent, by their own word
        self._sent_at = 0.0
        self._more = asyncio.Event()

    async def run(self) -> None:
        rpc, stores = InprocRpc(), Stores()
        ports = Ports(
            messages=cast(Any, stores),
            devices=cast(Any, stores),
            control=cast(ControlWatch, stores),
            presence=Presence(),
            claims=cast(Any, None),
            limits=cast(Any, None),
            queues=cast(Any, None),
            trail=cast(Any, None),
            metrics=NullMetrics(),
            rpc=rpc,
        )
        receipts = rpc.listen(receipts=self._dispatchers, zone="default")
        await receipts.start()
        gateway = Gateway(GatewaySettings(port=0), ports, Clock())
        await gateway.start()
        self._peers, self._address, self._incarnation = rpc.peers(), gateway.address, gateway.incarnation
        self._turns = Turns(gateway)
        asyncio.get_running_loop().add_reader(self._progress, self._on_progress)
        settle_collector(ProcessSettings().collect_after)
        _say({"url": gateway.url})
        async for command in _lines():
            _say(await self._obey(**command))
        await gateway.stop(5.0)
        await receipts.stop(0.0)

    async def _obey(self, do: str, **what: Any) -> dict[str, Any]:
        if do == "usage":
            return asdict(Usage.now())
        if do == "casts":
            return asdict(await self._casts(**what))
        works: dict[str, _Offering] = {"closed": self._closed, "spread": self._spread, "paced": self._paced}
        return asdict(await self._measured(works[do], **what))

    async def _measured(self, work: _Offering, **what: Any) -> Work:
        acked_before, self._making_s, before = self._dispatchers.acked, 0.0, Usage.now()
        began, base = monotonic(), self._sent
        offered, accepted = await work(**what)
        while self._sent - base < accepted:
            await self._next_progress()
        deadline = monotonic() + QUIET_S
        while self._dispatchers.acked - acked_before < accepted and monotonic() < deadline:
            await asyncio.sleep(0.01)
        after = Usage.now()
        return Work(
            offered=offered,
            accepted=accepted,
            acked=self._dispatchers.acked - acked_before,
            user_s=after.user_s - before.user_s - self._making_s,
            system_s=after.system_s - before.system_s,
            making_s=self._making_s,
            seconds=(self._sent_at if self._sent_at > began else monotonic()) - began,
        )

    async def _closed(self, *, seconds: float, devices: int, batch: int, unacked: int) -> tuple[int, int]:
        """A message for each device in turn, so many un-acked in all."""
        until, base = monotonic() + seconds, self._sent
        offered = accepted = 0
        while monotonic() < until:
            while accepted - (self._sent - base) <= unacked - batch and monotonic() < until:
                accepted += await self._call([[f"d-{(offered + number) % devices}"] for number in range(batch)])
                offered += batch
            if monotonic() < until:
                await self._next_progress()
        return offered, accepted

    async def _spread(self, *, seconds: float, devices: int, under_way: int) -> tuple[int, int]:
        """Messages for all of the devices, so many under way: one is until its last device has acked."""
        everybody = [f"d-{number}" for number in range(devices)]
        until, base = monotonic() + seconds, self._sent
        offered = accepted = 0
        while monotonic() < until:
            while accepted - (self._sent - base) <= (under_way - 1) * devices and monotonic() < until:
                accepted += await self._call([everybody])
                offered += devices
            if monotonic() < until:
                await self._next_progress()
        return offered, accepted

    async def _casts(self, *, count: int, sessions: int, every_s: float = 0.0) -> Cast:
        """Broadcasts to the topic of the first `sessions` devices, one after the other, each until all have acked; with `every_s` one begins
        at these times."""
        wishes = [Subscription(APP, f"d-{number}", [TOPIC]) for number in range(sessions)]
        await self._peers.subscribe(self._address, wishes)
        self._turns.forget()
        written = acked = 0
        before, began = Usage.now(), monotonic()
        for number in range(count):
            await asyncio.sleep(began + number * every_s - monotonic())
            (offer,) = self._made([[]])
            cast = broadcasts.Cast(id=offer.id, app=APP, topic=TOPIC, push=offer.push, expires=wall_ms() + 10_000)
            call = Broadcast(self._incarnation, wall_ms() + 5_000, [cast])
            tally = (await self._peers.broadcast(self._address, call))[0]
            until = monotonic() + QUIET_S
            while (tally.acked < tally.written or tally.stage is Stage.TAKEN) and monotonic() < until:
                await asyncio.sleep(0.005)
                tally = (await self._peers.broadcast(self._address, call))[0]
            written += tally.written
            acked += tally.acked
        after = Usage.now()
        return Cast(
            written=written,
            acked=acked,
            cpu_s=after.user_s + after.system_s - before.user_s - before.system_s,
            system_s=after.system_s - before.system_s,
            longest_slice_ms=round(self._turns.longest_slice_s * 1e3, 2),
            longest_turn_ms=round(self._turns.longest_turn_s * 1e3, 2),
            slices=self._turns.slices,
            slices_s=self._turns.slices_s,
        )

    async def _paced(
        self, *, messages: int, devices: int, file: str, first: int = 0, casts: Mapping[str, Any] | None = None
    ) -> tuple[int, int]:
        """A Deliver call of one message for one device, from the `first` on, at each instant that comes through the pipe. `file` gets pairs
        of id and instant (monotonic ns). `casts` go on meanwhile (`_casts`)."""
        others = asyncio.ensure_future(self._casts(**casts)) if casts else None
        loop = asyncio.get_running_loop()
        calls: set[asyncio.Task[int]] = set()
        due_at = array("q")
        offered = accepted = 0
        all_due = loop.create_future()

        def on_done(call: asyncio.Task[int]) -> None:
            nonlocal accepted
            calls.discard(call)
            accepted += call.result()

        def on_pace() -> None:
            nonlocal offered
            for (due,) in _DUE.iter_unpack(os.read(self._pace, 4_096)):
                offers = self._made([[f"d-{first + offered % devices}"]])
                due_at.extend((offers[0].id, due))
                offered += 1
                call = loop.create_task(self._deliver(offers))
                calls.add(call)
                call.add_done_callback(on_done)
            if offered == messages:
                all_due.set_result(None)

        loop.add_reader(self._pace, on_pace)
        try:
            await all_due
            while calls:
                await asyncio.wait(calls)
        finally:
            loop.remove_reader(self._pace)
        await asyncio.to_thread(Path(file).write_bytes, due_at.tobytes())
        if others is not None:
            await others
        return offered, accepted

    async def _call(self, messages: Sequence[list[str]]) -> int:
        return await self._deliver(self._made(messages))

    async def _deliver(self, offers: list[Offer]) -> int:
        """How many deliveries were accepted."""
        call = Deliver(self._incarnation, wall_ms() + 5_000, offers)
        return (await self._peers.deliver(self._address, call)).takings.count(Taking.ACCEPTED)

    def _made(self, messages: Sequence[list[str]]) -> list[Offer]:
        """A message for each list of devices."""
        began = thread_time()
        now = wall_ms()
        offers = []
        for devices in messages:
            self._issued += 1
            message_id = make_id(now, self._issued % 256, 0, self._issued // 256 % 128)
            push = _PUSH % (message_id, self._issued % 100_000_000, now, now + 60_000)
            offers.append(
                Offer(id=message_id, app=APP, devices=devices, push=push, expires=now + 60_000, ack_timeout_ms=10_000)
            )
        self._making_s += thread_time() - began
        return offers

    def _on_progress(self) -> None:
        told = os.read(self._progress, 65_536)
        if not told:  # the devices are gone; who waits for them learns it by the time
            asyncio.get_running_loop().remove_reader(self._progress)
            return
        (self._sent,) = _COUNT.unpack(told[-_COUNT.size :])
        self._sent_at = monotonic()
        self._more.set()

    async def _next_progress(self) -> None:
        self._more.clear()
        async with asyncio.timeout(QUIET_S):
            await self._more.wait()


async def _lines() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


# ── from outside ────────────────────────────────────────────────────────────────────────────────────────────────────


class GatewayProcess:
    """`progress` is the pipe for the load client, `pace` the one for the instants at which messages are due."""

    def __init__(self, process: Process, progress: int, pace: int) -> None:
        self._process = process
        self.progress, self.pace = progress, pace
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def start(cls, core: int | None) -> AsyncIterator[Self]:
        progress_out, progress_in = os.pipe()
        pace_out, pace_in = os.pipe()
        command = [sys.executable, "-m", "bench.gateway_process", str(progress_out), str(pace_out)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, pass_fds=(progress_out, pace_out)
            )
        finally:
            os.close(progress_out)
            os.close(pace_out)
        if core is not None:
            pin(process.pid, core)
        gateway = cls(process, progress_in, pace_in)
        try:
            gateway.url = (await gateway._heard())["url"]
            yield gateway
        finally:
            os.close(progress_in)
            os.close(pace_in)
            await gateway._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def usage(self) -> Usage:
        return Usage(**await self._ask(do="usage"))

    async def closed(self, *, seconds: float, devices: int, batch: int, unacked: int) -> Work:
        return Work(**await self._ask(do="closed", seconds=seconds, devices=devices, batch=batch, unacked=unacked))

    async def spread(self, *, seconds: float, devices: int, under_way: int) -> Work:
        return Work(**await self._ask(do="spread", seconds=seconds, devices=devices, under_way=under_way))

    async def paced(self, *, messages: int, devices: int, file: Path, **more: Any) -> Work:
        return Work(**await self._ask(do="paced", messages=messages, devices=devices, file=str(file), **more))

    async def casts(self, *, count: int, sessions: int) -> Cast:
        return Cast(**await self._ask(do="casts", count=count, sessions=sessions))

    def pace_one(self, due_ns: int) -> None:
        """A message is due."""
        os.write(self.pace, _DUE.pack(due_ns))

    async def _ask(self, **what: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        return await self._heard()

    async def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.startswith(b"{"):  # log lines pass by
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("the gateway's process ended; what it said is above")

    async def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(10.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


if __name__ == "__main__":
    allow_many_connections()
    uvloop.run(Server(int(sys.argv[1]), int(sys.argv[2])).run())
