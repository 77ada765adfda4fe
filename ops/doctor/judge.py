"""What facts mean for us. Pure: facts in, checks out."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ops.doctor.check import Check, fail, ok, warn
from push_core.facts import Facts
from push_core.shards import ShardMap

CLOCK_WARN_MS, CLOCK_FAIL_MS = 500, 5_000
RESERVE = 10  # connections that people and backups need
KEY_LENGTH = 16
CERTIFICATE_LEFT = timedelta(days=14)
SPARE_FILES = 200  # descriptors beside connections: stores, peers, files
_OLDEST = {"Redis": (6, 2), "RabbitMQ": (3, 8)}


def version(name: str, facts: Facts) -> Check:
    product, _, number = facts.product.partition(" ")
    oldest = _OLDEST.get(product)
    if oldest is not None and _numbers(number)[: len(oldest)] < oldest:
        needed = ".".join(map(str, oldest))
        return fail(name, f"{facts.product} at {facts.where}", f"use {product} {needed} or newer")
    return ok(name, f"{facts.product} at {facts.where}")


def clock(name: str, facts: Facts) -> Check | None:
    """None where there is no clock but ours. A lease or an id that one machine made is judged by another's clock."""
    if facts.ahead_ms is None:
        return None
    off = abs(facts.ahead_ms)
    found = f"its clock and ours are {off} ms apart"
    do = "let all machines follow the same time servers (chrony, systemd-timesyncd)"
    if off >= CLOCK_FAIL_MS:
        return fail(f"{name}, clock", found, do)
    return warn(f"{name}, clock", found, do) if off >= CLOCK_WARN_MS else ok(f"{name}, clock", found)


def durability(name: str, facts: Facts) -> Check:
    """Whether 202 is kept through the loss of a machine's power."""
    name = f"{name}, durability"
    settings = facts.settings
    if "synchronous" in settings:
        full = settings["synchronous"] in (2, 3)
        return (
            ok(name, "synchronous=FULL")
            if full
            else fail(name, f"synchronous={settings['synchronous']}", "set it to FULL")
        )
    flush = settings.get("innodb_flush_log_at_trx_commit")
    if flush is None:
        return warn(name, "the server does not say", "look at innodb_flush_log_at_trx_commit yourself; it must be 1")
    if flush != 1:
        return fail(
            name,
            f"innodb_flush_log_at_trx_commit={flush}: what was accepted last is lost when the machine dies",
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1, and put it into the server's configuration",
        )
    if settings.get("log_bin") == "ON" and settings.get("sync_binlog") != 1:
        return warn(
            name,
            f"innodb_flush_log_at_trx_commit=1, but sync_binlog={settings.get('sync_binlog')}: a replica may lack what the primary has",
            "SET GLOBAL sync_binlog = 1, if a replica may take the primary's place",
        )
    return ok(name, "innodb_flush_log_at_trx_commit=1")


def writable(name: str, facts: Facts) -> Check | None:
    """None when it is."""
    if facts.settings.get("read_only", "OFF") in ("OFF", 0):
        return None
    return fail(f"{name}, writing", "the server is read only", "name the primary in the DSN")


def connections(name: str, facts: Facts, each: int, processes: int) -> Check | None:
    """`each`: connections that one process keeps. None where the server has no such bound."""
    most = facts.settings.get("max_connections")
    if not isinstance(most, int):
        return None
    name, need = f"{name}, connections", each * processes
    found = f"{processes} processes × {each} = {need} of max_connections={most}"
    do = "raise max_connections, or lower writers and readers in the DSNs"
    if need + RESERVE > most:
        return fail(name, found, do)
    return warn(name, found, do) if need > 0.8 * most else ok(name, found)


def eviction(name: str, facts: Facts) -> Check:
    """A Redis that throws away what it likes breaks claims and routes in silence."""
    name = f"{name}, memory"
    policy, most = facts.settings.get("maxmemory-policy"), facts.settings.get("maxmemory")
    if policy is None:
        return warn(name, "the server does not say", "see that maxmemory-policy is noeviction")
    if policy == "noeviction":
        limit = "no maxmemory" if most == 0 else f"maxmemory={most}"
        return ok(name, f"noeviction, {limit}")
    do = "CONFIG SET maxmemory-policy noeviction, and put it into its configuration"
    if most == 0:
        return warn(name, f"maxmemory-policy={policy}, without a maxmemory it evicts nothing yet", do)
    return fail(name, f"maxmemory-policy={policy}: routes, claims and limits can vanish", do)


def descriptors(most: int, connections: Mapping[str, int]) -> list[Check]:
    """`connections`: how many each program takes by its settings."""
    found = []
    for program, wanted in connections.items():
        name, need = f"{program}, descriptors", wanted + SPARE_FILES
        said = f"{wanted} connections and {SPARE_FILES} more of {most} files"
        do = f"raise the limit of open files (ulimit -Hn, LimitNOFILE=), or lower [{program}] max_connections"
        found.append(ok(name, said) if need <= most else warn(name, said, do))
    return found


def certificate(expires: datetime, now: datetime, mode: int) -> list[Check]:
    """The gateway's; `mode`: the rights of its key's file."""
    name, left = "gateway, certificate", expires - now
    said = f"good until {expires:%Y-%m-%d %H:%M} UTC, {left.days} days"
    do = "renew it now; a running gateway takes the new files by itself"
    if left <= timedelta():
        found = [fail(name, f"expired at {expires:%Y-%m-%d %H:%M} UTC", do)]
    else:
        found = [warn(name, said, do) if left < CERTIFICATE_LEFT else ok(name, said)]
    rights = f"{mode & 0o777:04o}"
    if mode & 0o007:
        do = "chmod o-rwx it, and take a new key if it has been so for long"
        found.append(fail("gateway, key", f"its rights are {rights}: everybody on this machine can use it", do))
    elif mode & 0o070:
        found.append(warn("gateway, key", f"its rights are {rights}", "chmod 600, unless that group is meant"))
    else:
        found.append(ok("gateway, key", f"its rights are {rights}"))
    return found


def identity(key: str | None, certificates: bool, separate: bool) -> Check:
    """What programs prove to one another. `separate`: they are processes of their own."""
    name = "cluster key"
    if key:
        if len(key) < KEY_LENGTH:
            return warn(name, f"set, {len(key)} characters", "take a longer one, say of `openssl rand -hex 32`")
        return ok(name, "set" + (", and certificates" if certificates else ""))
    if certificates:
        return ok(name, "certificates, no key")
    if not separate:
        return ok(name, "made at the first start: all programs are one process")
    return fail(name, "not set", "put the same one into TACO_STORES_CLUSTER_KEY or DATA/cluster.key of every program")


def shards(value: Any, version: int, zones: Mapping[str, str]) -> list[Check]:
    """The shard map in control (None: there is none), and whether the zones of the programs (by program) own something."""
    try:
        known = ShardMap.single() if value is None else ShardMap.from_value(version, value)
    except (ValueError, AttributeError) as error:
        return [
            fail(
                "shard map",
                f"makes no sense: {error}",
                "write it again with `taco zones`; the one before holds meanwhile",
            )
        ]
    said = "none in control: one zone owns all shards" if value is None else f"version {version} in control"
    found = [ok("shard map", said)]
    for program, zone in zones.items():
        if not known.shards_of(zone):
            consequence = "no message can be accepted" if program == "api" else "nothing is for it"
            found.append(
                fail(
                    f"{program}, zone",
                    f"zone {zone!r} owns no shard: {consequence}",
                    f"correct [{program}] zone, or give it shards with `taco zones`",
                )
            )
    return found


def copies(versions: Mapping[str, int | None], version: int) -> list[Check]:
    """The shard map in copies on disk, by path (None: the file makes no sense). A copy that is behind is what a program would start from."""
    found = []
    for path, copied in versions.items():
        name = "copy of control"
        if copied is None:
            found.append(warn(name, f"{path} can't be read", "remove it; the next poll writes it again"))
        elif copied < version:
            do = "is its program running, and can it write there?"
            found.append(warn(name, f"{path} has the shard map of version {copied}, the store {version}", do))
        else:
            found.append(ok(name, f"{path} is current"))
    return found


def alone(schemes: Mapping[str, str]) -> list[Check]:
    """Stores inside one process, where programs are processes of their own."""
    return [
        warn(
            f"{port} store",
            f"{scheme}:// is in each process for itself: {_ALONE[port]}",
            f"give all programs the same redis:// for [stores] {port}",
        )
        for port, scheme in schemes.items()
        if scheme == "memory" and port in _ALONE
    ]


_ALONE = {
    "claims": "after a crash a vendor may be asked twice for one message",
    "limits": "rates are counted by each process",
}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
