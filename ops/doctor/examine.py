"""Looks at everything that the settings name, each with a deadline and all at a time, and changes nothing."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ops.doctor import judge
from ops.doctor.check import Check, Verdict, fail, ok, warn
from ops.settings import AllSettings
from push_core.control.port import Entry
from push_core.dsn import Dsn
from push_core.errors import ConfigError, TacoError
from push_core.facts import Facts
from push_core.messages.ranges import split
from push_core.shards import CONTROL_KEY

LOOK_S = 10.0
NODES = 64  # of many gateways some are asked
_copy = msgspec.json.Decoder(list[Entry])


@dataclass(frozen=True, slots=True)
class Patient:
    """`separate`: the programs are processes of their own. `processes` counts those that keep connections to the database."""

    settings: AllSettings
    data: Path
    separate: bool
    processes: int


async def examine(patient: Patient) -> list[Check]:
    looks = [
        *(_sql(patient, "message store", part.dsn, "messages") for part in split(patient.settings.stores.messages)),
        _sql(patient, "device store", patient.settings.stores.devices, "devices"),
        *_redis(patient),
        *_queue(patient),
        _nodes(patient),
        _control(patient),
        _process(patient),
        _certificate(patient),
    ]
    return [check for checks in await asyncio.gather(*looks) for check in checks]


# ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _sql(patient: Patient, name: str, dsn: str, schema: str) -> list[Check]:
    from push_core.sql.facts import connections_of, exists, sql_facts
    from push_core.sql.upgrade import status

    if not exists(dsn):
        return [ok(name, f"{Dsn.hide_password(dsn)} is made at the first start")]

    def of(facts: Facts) -> list[Check]:
        stores = patient.settings.stores
        kept = connections_of([part.dsn for part in split(stores.messages)], stores.devices)
        found = [
            judge.version(name, facts),
            judge.durability(name, facts),
            judge.writable(name, facts),
            judge.clock(name, facts),
            judge.connections(name, facts, kept.get(facts.where, 0), patient.processes),
        ]
        return [check for check in found if check is not None]

    async def tables() -> list[Check]:
        now = await asyncio.to_thread(status, dsn, schema)
        said = f"at step {now.at or 'none'}, this release needs {now.newest}"
        if now.problem is None:
            return [ok(f"{name}, tables", said)]
        do = "`taco db upgrade`" if "upgrade" in now.problem else "install the release that the tables are for"
        return [fail(f"{name}, tables", said, do)]

    facts = await _asked(name, _facts(lambda: asyncio.to_thread(sql_facts, dsn), of))
    if any(check.verdict is Verdict.FAIL and check.name == name for check in facts):
        return facts  # it can't be reached: once is enough
    return [*facts, *await _asked(f"{name}, tables", tables())]


def _redis(patient: Patient) -> list[Awaitable[list[Check]]]:
    """One look for each place: ports that share one are named together."""
    from push_core.redis.facts import redis_facts

    stores = patient.settings.stores
    places: dict[str, list[str]] = {}
    for port in ("presence", "claims", "limits"):
        dsn = str(getattr(stores, port))
        if dsn.partition("://")[0] != "memory":
            places.setdefault(dsn.partition("?")[0], []).append(port)

    def look(ports: list[str]) -> Awaitable[list[Check]]:
        name = ", ".join(ports)
        port = ports[0]

        def of(facts: Facts) -> list[Check]:
            found = [judge.version(name, facts), judge.eviction(name, facts), judge.clock(name, facts)]
            return [check for check in found if check is not None]

        return _asked(name, _facts(lambda: redis_facts(str(getattr(stores, port)), port), of))

    return [look(ports) for ports in places.values()]


def _queue(patient: Patient) -> list[Awaitable[list[Check]]]:
    from push_core.queues.amqp_facts import amqp_facts

    dsn = patient.settings.stores.queues
    if dsn.partition("://")[0] == "memory":
        return []
    return [_asked("queues", _facts(lambda: amqp_facts(dsn), lambda facts: [judge.version("queues", facts)]))]


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _nodes(patient: Patient) -> list[Check]:
    """Calls each gateway as a program would: key, certificates, networks and versions are right, or are not."""
    settings = patient.settings.stores
    if settings.presence.partition("://")[0] == "memory":
        return []
    from push_core.adapters import open_peers
    from push_core.presence.port import GATEWAY

    async def call(address: str, name: str, poke: Callable[[str], Awaitable[None]]) -> Check:
        try:
            await poke(address)
        except TacoError as error:
            return fail(
                f"node {name}",
                error.message,
                "is it running, has it the same cluster key or authority, and a release that works with this one (`taco version`)?",
            )
        return ok(f"node {name}", f"answers at {address}, and speaks our version")

    async def look() -> list[Check]:
        async with open_peers(settings) as (presence, peers):
            nodes = await presence.nodes()
            gateways = sorted((node for node in nodes if node.role == GATEWAY), key=lambda node: node.name)
            receipts = [node for node in nodes if node.role != GATEWAY]
            found = await asyncio.gather(
                *(
                    call(node.address, node.name, lambda address: peers.poke(address, [], timeout_s=LOOK_S / 2))
                    for node in gateways[:NODES]
                )
            )
            said = f"{len(gateways)} gateways, {len(receipts)} dispatchers that take receipts"
            if gateways and receipts:
                return [ok("nodes", said), *found]
            return [warn("nodes", said, "nothing reaches devices without both; start what is missing"), *found]

    return await _asked("nodes", look())


async def _control(patient: Patient) -> list[Check]:
    from push_core.adapters import open_control
    from push_core.sql.facts import exists

    settings = patient.settings
    zones = {"api": settings.api.zone, "gateway": settings.gateway.zone, "dispatcher": settings.dispatcher.zone}
    if not exists(settings.stores.devices):
        return judge.shards(None, 0, zones)

    async def look() -> list[Check]:
        control = await open_control(settings.stores.devices)
        try:
            (entry,) = await control.get([CONTROL_KEY])
        finally:
            await control.close()
        value, version = (entry.value, entry.version) if entry is not None else (None, 0)
        return [*judge.shards(value, version, zones), *judge.copies(_copies(patient.data), version)]

    return await _asked("control", look())


def _copies(data: Path) -> dict[str, int | None]:
    """The version of the shard map in each copy of control below the folder; 0 where it has none."""
    found: dict[str, int | None] = {}
    for path in (data / "control.json", *sorted(data.glob("programs/*/control.json"))):
        try:
            entries = _copy.decode(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError):
            found[str(path)] = None
        else:
            found[str(path)] = max((entry.version for entry in entries if entry.key == CONTROL_KEY), default=0)
    return found


async def _process(patient: Patient) -> list[Check]:
    settings, stores = patient.settings, patient.settings.stores
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = {"gateway": settings.gateway.max_connections, "api": settings.api.max_connections}
    found = [
        judge.identity(stores.cluster_key, stores.rpc_cert is not None, patient.separate),
        *judge.descriptors(most, wanted),
    ]
    if patient.separate:
        schemes = {port: str(getattr(stores, port)).partition("://")[0] for port in ("claims", "limits")}
        found += judge.alone(schemes)
    return found


async def _certificate(patient: Patient) -> list[Check]:
    """Reads the files as the gateway does."""
    from push_gateway.tls.certificates import Files, load

    async def look() -> list[Check]:
        files = Files.of(patient.settings.gateway)
        if files is None:
            return []
        loaded = await asyncio.to_thread(load, files)
        now = datetime.now(UTC)
        if now < loaded.begins:
            return [fail("gateway, certificate", loaded.problem(now) or "", "correct the clock, or wait")]
        return judge.certificate(loaded.expires, now, files.key.stat().st_mode)

    return await _asked("gateway, certificate", look())


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _facts(ask: Callable[[], Awaitable[Facts]], of: Callable[[Facts], list[Check]]) -> list[Check]:
    return of(await ask())


async def _asked(name: str, look: Awaitable[list[Check]]) -> list[Check]:
    """What can't be asked is a finding too."""
    try:
        async with asyncio.timeout(LOOK_S):
            return await look
    except TimeoutError:
        return [fail(name, f"no answer within {LOOK_S:g} s", "is the server running, and reached from here?")]
    except ConfigError as error:
        return [fail(name, str(error), "correct the setting, or what it names")]
    except TacoError as error:
        return [fail(name, error.message, "is the server running, and reached from here?")]


def summary(checks: list[Check]) -> Mapping[str, Any]:
    return {
        "ok": not any(check.verdict is Verdict.FAIL for check in checks),
        "checks": [check.to_dict() for check in checks],
    }
