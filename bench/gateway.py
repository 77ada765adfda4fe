"""What one gateway costs: CPU per push with its ack, CPU per sign-in, memory per idle session.

    python -m bench.gateway --sessions 5000 --seconds 5 --codec both --json

The gateway is a process of its own whose neighbours (stores, dispatchers) are stand-ins that answer at once, so that what is measured is
the gateway and nothing else. Its devices are in this process: real sockets on the loopback interface, signed in with tokens, acking
what they get. Pushes come as Deliver calls of `--batch` messages with one device each, on a schedule that waits for nobody.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import jwt
import typer
import uvloop

from bench.lag import Lag
from bench.machine import CpuMeter, cpu_seconds, percentile, print_header, print_json, resident_kib
from push_core.adapters import Ports
from push_core.clock import Clock, wall_ms
from push_core.control.watch import ControlWatch
from push_core.ids import make_id
from push_core.messages.port import InboxAsk, InboxPage
from push_core.metrics.null import NullMetrics
from push_core.models import App, Device, DeviceKey
from push_core.presence.memory import MemoryPresence
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import Deliver, Offer, Receipt, ReceiptKind, Taking
from push_core.shards import ShardMap
from push_gateway.app import Gateway
from push_gateway.settings import GatewaySettings
from sdk_proto.python.wire_client import Fleet
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO

APP = "bench"
SECRET = "a secret of the benchmark, thirty-two bytes"
EVERY_S = 0.01  # between two Deliver calls' times
SETTLE_S = 1.0
CODECS = {"json": [JSON], "proto": [PROTO], "both": [JSON, PROTO]}
METHOD = (
    "gateway alone in its process, neighbours answer at once; devices in another process over loopback TCP without TLS; "
    "CPU is the gateway process's user and system time, less what making the offers took, divided by operations; memory is the growth of its RSS by idle signed-in sessions"
)


# ── the gateway's process ───────────────────────────────────────────────────────────────────────────────────────────


class Neighbours:
    """The stores and dispatchers of a gateway, as far as it asks them. Counts what is acked."""

    def __init__(self) -> None:
        self.shard_map = ShardMap.single()
        self.acked = 0

    def subscribe(self, key: str, fn: object) -> None:
        pass

    async def ping(self) -> None:
        pass

    async def apps(self, names: Sequence[str]) -> list[App | None]:
        return [App(name=name, device_secrets=(SECRET,)) for name in names]

    async def get(self, keys: Sequence[DeviceKey]) -> list[Device | None]:
        return [None] * len(keys)

    async def inbox(self, asks: Sequence[InboxAsk], **_: int) -> list[InboxPage]:
        return [InboxPage([], 0)] * len(asks)

    async def waiting(self, keys: Sequence[DeviceKey]) -> list[int]:
        return [0] * len(keys)

    async def report(self, receipts: Sequence[Receipt]) -> None:
        self.acked += sum(receipt.kind is ReceiptKind.RECEIVED for receipt in receipts)


class Server:
    """Obeys lines on stdin: `deliver {"rate", "seconds", "batch", "sessions", "fanout"}` and `end`; answers with lines of JSON."""

    async def run(self) -> None:
        neighbours = self._neighbours = Neighbours()
        rpc = InprocRpc()
        ports = Ports(
            messages=cast(Any, neighbours),
            devices=cast(Any, neighbours),
            control=cast(ControlWatch, neighbours),
            presence=MemoryPresence(),
            claims=cast(Any, None),
            limits=cast(Any, None),
            queues=cast(Any, None),
            trail=cast(Any, None),
            metrics=NullMetrics(),
            rpc=rpc,
        )
        receipts = rpc.listen(receipts=neighbours, zone="default")
        await receipts.start()
        gateway = Gateway(GatewaySettings(port=0), ports, Clock())
        await gateway.start()
        self._peers, self._address, self._incarnation = rpc.peers(), gateway.address, gateway.incarnation
        self._issued = 0
        _say({"url": gateway.url})
        while True:
            word, _, rest = (await asyncio.to_thread(sys.stdin.readline)).partition(" ")
            if word.strip() != "deliver":
                break
            _say(await self._deliver(**json.loads(rest)))
        await gateway.stop(5.0)
        await receipts.stop(0.0)

    async def _deliver(
        self, *, rate: int, seconds: float, batch: int, sessions: int, fanout: int
    ) -> dict[str, float | int]:
        """`fanout` 0: a message for each device in turn, `rate` a second; else messages for all of the sessions, so many."""
        loop = asyncio.get_running_loop()
        acked_before, self._making_s = self._neighbours.acked, 0.0
        cpu_before, system_before = cpu_seconds(), os.times().system
        calls: list[asyncio.Task[int]] = []
        began = loop.time()
        if fanout:
            everybody = [f"d-{number}" for number in range(sessions)]
            for _ in range(fanout):
                calls.append(loop.create_task(self._call([everybody])))
                await asyncio.wait(calls)
        else:
            planned = int(rate * seconds)
            offered = 0
            while offered < planned:
                due = min(planned, int((loop.time() - began) * rate))
                while offered < due:
                    count = min(batch, due - offered)
                    devices = [[f"d-{(offered + number) % sessions}"] for number in range(count)]
                    calls.append(loop.create_task(self._call(devices)))
                    offered += count
                await asyncio.sleep(EVERY_S)
        accepted = sum(await asyncio.gather(*calls))
        deadline = loop.time() + 5.0
        while self._neighbours.acked - acked_before < accepted and loop.time() < deadline:
            await asyncio.sleep(EVERY_S)
        acked = self._neighbours.acked - acked_before
        spent = cpu_seconds() - cpu_before - self._making_s
        system = os.times().system - system_before
        return {
            "accepted": accepted,
            "acked": acked,
            "cpu_s": spent,
            "system_s": system,
            "seconds": loop.time() - began,
        }

    async def _call(self, messages: Sequence[list[str]]) -> int:
        began = time.thread_time()
        now = wall_ms()
        offers = []
        for devices in messages:
            self._issued += 1
            message_id = make_id(now, self._issued % 256, 0, self._issued // 256 % 128)
            push = (
                b'{"id":"%d","kind":"notification","title":"Order 9 is ready","body":"%s","data":{"order":"9","shop":"3"},'
                b'"priority":"normal","sent":%d,"expires":%d}' % (message_id, b"x" * 60, now, now + 60_000)
            )
            offers.append(
                Offer(id=message_id, app=APP, devices=devices, push=push, expires=now + 60_000, ack_timeout_ms=10_000)
            )
        self._making_s += time.thread_time() - began
        delivered = await self._peers.deliver(self._address, Deliver(self._incarnation, now + 5_000, offers))
        return delivered.takings.count(Taking.ACCEPTED)


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


# ── the devices' process ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Child:
    process: "subprocess.Popen[str]"
    url: str

    @classmethod
    def start(cls) -> "Child":
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.gateway", "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        child = cls(process, "")
        child.url = child.heard()["url"]
        return child

    def heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):  # log lines pass by
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError("the gateway's process ended")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    async def ask(self, **what: Any) -> dict[str, Any]:
        self.tell("deliver " + json.dumps(what))
        return await asyncio.to_thread(self.heard)

    def end(self) -> None:
        try:
            self.process.communicate("end\n", timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


async def measure(codec: Codec, sessions: int, seconds: float, rate: int, batch: int, fanout: int) -> dict[str, Any]:
    child = Child.start()
    try:
        fleet = Fleet(child.url, codec=codec)
        pid = child.process.pid
        exp = int(time.time()) + 86_400
        names = [f"d-{number}" for number in range(sessions)]
        tokens = [jwt.encode({"iss": APP, "sub": name, "exp": exp}, SECRET, algorithm="HS256") for name in names]
        # A first few, so that what is done once isn't counted.
        for name in range(50):
            await fleet.connect(
                APP, f"warm-{name}", jwt.encode({"iss": APP, "sub": f"warm-{name}", "exp": exp}, SECRET)
            )
        before_kib = resident_kib(pid)
        meter = CpuMeter({"gateway": [pid], "client": []})
        meter.start()
        doors = asyncio.Semaphore(64)

        async def enter(name: str, token: str) -> None:
            async with doors:
                await fleet.connect(APP, name, token)

        began = time.monotonic()
        await asyncio.gather(*map(enter, names, tokens))
        meter.stop()
        signed_in_s = time.monotonic() - began
        await asyncio.sleep(SETTLE_S)
        result: dict[str, Any] = {
            "codec": codec.subprotocol,
            "sign_in_us": meter.us_per(sessions)["gateway"],
            "sign_ins_per_s": round(sessions / signed_in_s),
            "idle_session_kib": round((resident_kib(pid) - before_kib) / sessions, 2),
        }
        usual = {"rate": rate, "batch": batch, "sessions": sessions, "fanout": 0}
        await child.ask(**usual, seconds=1.0)
        lag = Lag()
        lag.start()
        pushed = await child.ask(**usual, seconds=seconds)
        lag.stop()
        result |= {
            "push_ack_us": round(pushed["cpu_s"] * 1e6 / pushed["acked"], 1),
            "push_ack_kernel_us": round(pushed["system_s"] * 1e6 / pushed["acked"], 1),
            "acked_per_s": round(pushed["acked"] / pushed["seconds"]),
            "remainder": pushed["accepted"] - pushed["acked"],
            "client_lag_p99_ms": round((percentile(lag.late_s, 99) or 0.0) * 1_000, 1),
        }
        if fanout:
            spread = await child.ask(**(usual | {"fanout": fanout}), seconds=0.0)
            result["fanout_delivery_us"] = round(spread["cpu_s"] * 1e6 / spread["acked"], 1)
        result["repeats_on_wire"] = fleet.counters.repeats
        result["busy_session_kib"] = round((resident_kib(pid) - before_kib) / sessions, 2)
        await fleet.close()
        return result
    finally:
        child.end()


def main(
    sessions: Annotated[int, typer.Option(min=1, max=18_000, help="Devices signed in.")] = 5_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long pushes are offered.")] = 5.0,
    codec: Annotated[str, typer.Option(help="json, proto or both.")] = "both",
    rate: Annotated[int, typer.Option(min=1, help="Pushes a second.")] = 5_787,
    batch: Annotated[int, typer.Option(min=1, max=256, help="Messages in a Deliver call, at most.")] = 64,
    fanout: Annotated[int, typer.Option(min=0, help="Messages to all devices, after that.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Only the result on stdout.")] = False,
    serve: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure one gateway."""
    if serve:
        uvloop.run(Server().run())
        return
    if codec not in CODECS:
        raise typer.BadParameter(f"one of {', '.join(CODECS)}", param_hint="--codec")
    settings = {"sessions": sessions, "seconds": seconds, "rate": rate, "batch": batch, "fanout": fanout}
    header = print_header("gateway", METHOD, settings, as_json=as_json)
    results = [uvloop.run(measure(each, sessions, seconds, rate, batch, fanout)) for each in CODECS[codec]]
    print_json({"results": results, "machine": header.to_dict()})


if __name__ == "__main__":
    typer.run(main)
