"""The device store in SQL: apps and devices as JSON beside the columns that are searched. Knows no vendor and no protocol."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import msgspec
from sqlalchemy import Connection

from push_core.devices.port import DeadToken, Devices, TopicChange
from push_core.fuse import MakeFuse
from push_core.models import App, Device, DeviceKey
from push_core.sql import bulk
from push_core.sql.database import Database
from push_core.sql.forms import Lock
from push_core.sql.rows import fetch

_encode = msgspec.json.encode
_app = msgspec.json.Decoder(App)
_device = msgspec.json.Decoder(Device)
_KEY = ("app", "device")
_PAGE = 1_000


class SqlDevices(Devices):
    """`SqlDevices.open("sqlite:///data/devices.sqlite")`; `sqlite://` keeps everything in memory."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    async def open(cls, dsn: str, *, fuse: MakeFuse | None = None) -> Self:
        """Raises ConfigError for a bad DSN, Unavailable when the file can't be used."""
        return cls(await Database.open(dsn, "devices", readers=1, fuse=fuse))

    async def put_apps(self, apps: Sequence[App]) -> None:
        rows = [(app.name, _encode(app)) for app in apps]
        await self._db.write(
            lambda conn: bulk.upsert(conn, "apps", ("name", "body"), rows, key=("name",), keep={"body": "new"})
        )

    async def apps(self, names: Sequence[str]) -> list[App | None]:
        keys = [(name,) for name in dict.fromkeys(names)]
        rows = await self._db.read(lambda conn: bulk.select(conn, "body", "apps", ("name",), keys))
        found = {app.name: app for app in (_app.decode(body) for (body,) in rows)}
        return [found.get(name) for name in names]

    async def all_apps(self) -> list[App]:
        rows = await self._db.read(lambda conn: fetch(conn, "SELECT body FROM apps ORDER BY name", ("body",)))
        return [_app.decode(body) for (body,) in rows]

    async def put(self, devices: Sequence[Device]) -> list[Device]:
        return await self._db.write(lambda conn: _put(conn, devices))

    async def get(self, keys: Sequence[DeviceKey]) -> list[Device | None]:
        return await self._db.read(lambda conn: _get(conn, keys))

    async def forget(self, keys: Sequence[DeviceKey]) -> list[bool]:
        return await self._db.write(lambda conn: _forget(conn, keys))

    async def block(self, keys: Sequence[DeviceKey], blocked: bool, *, now: int) -> None:
        new = [Device(app=app, device=device, updated=now) for app, device in dict.fromkeys(keys)]
        rows = [(item.app, item.device, int(blocked), _encode(item)) for item in new]
        await self._db.write(
            lambda conn: bulk.upsert(
                conn, "devices", ("app", "device", "blocked", "body"), rows, key=_KEY, keep={"blocked": "new"}
            )
        )

    async def change_topics(self, changes: Sequence[TopicChange], *, now: int) -> list[Device]:
        return await self._db.write(lambda conn: _change_topics(conn, changes, now))

    async def by_alias(self, app: str, aliases: Sequence[str], *, after: str = "", limit: int = _PAGE) -> list[str]:
        keys = [(app, alias) for alias in dict.fromkeys(aliases)]
        return await self._db.read(lambda conn: _by_alias(conn, keys, after, limit))

    async def drop_tokens(self, dead: Sequence[DeadToken]) -> None:
        await self._db.write(lambda conn: _drop_tokens(conn, dead))

    async def ping(self) -> None:
        await self._db.read(
            lambda conn: conn.exec_driver_sql("SELECT name FROM apps LIMIT 1").fetchall(), critical=True
        )

    async def close(self) -> None:
        await self._db.close()


def _load(conn: Connection, keys: Iterable[DeviceKey], lock: Lock = Lock.NONE) -> dict[DeviceKey, Device]:
    rows = bulk.select(conn, "body, blocked", "devices", _KEY, sorted(dict.fromkeys(keys)), lock=lock)
    devices = (msgspec.structs.replace(_device.decode(body), blocked=bool(blocked)) for body, blocked in rows)
    return {(device.app, device.device): device for device in devices}


def _get(conn: Connection, keys: Sequence[DeviceKey]) -> list[Device | None]:
    found = _load(conn, keys)
    return [found.get((app, device)) for app, device in keys]


def _store(conn: Connection, devices: Iterable[Device]) -> None:
    rows: list[Sequence[Any]] = [(item.app, item.device, item.alias, _encode(item)) for item in devices]
    keep = {"alias": "new", "body": "new"}  # and not `blocked`, which registering doesn't change
    bulk.upsert(conn, "devices", ("app", "device", "alias", "body"), rows, key=_KEY, keep=keep)


def _put(conn: Connection, devices: Sequence[Device]) -> list[Device]:
    before = _load(conn, [(item.app, item.device) for item in devices], Lock.UPDATE)
    kept = {key: device.topics for key, device in before.items()}
    _store(conn, [msgspec.structs.replace(item, topics=kept.get((item.app, item.device), ())) for item in devices])
    stored = _load(conn, [(item.app, item.device) for item in devices])
    return [stored[item.app, item.device] for item in devices]


def _forget(conn: Connection, keys: Sequence[DeviceKey]) -> list[bool]:
    there = set(_load(conn, keys))
    bulk.delete(conn, "devices", _KEY, list(there))
    answers = []
    for app, device in keys:
        answers.append((app, device) in there)
        there.discard((app, device))  # named twice: gone the second time
    return answers


def _change_topics(conn: Connection, changes: Sequence[TopicChange], now: int) -> list[Device]:
    keys = [(change.app, change.device) for change in changes]
    known = _load(conn, keys, Lock.UPDATE)
    changed: dict[DeviceKey, Device] = {}
    for change, key in zip(changes, keys, strict=True):
        device = changed.get(key) or known.get(key) or Device(app=change.app, device=change.device, updated=now)
        left = [topic for topic in device.topics if topic not in change.remove]
        topics = tuple(dict.fromkeys((*left, *change.add)))
        if topics != device.topics:
            changed[key] = msgspec.structs.replace(device, topics=topics)
        known.setdefault(key, device)
    _store(conn, changed.values())
    return [changed.get(key) or known[key] for key in keys]


def _by_alias(conn: Connection, keys: list[DeviceKey], after: str, limit: int) -> list[str]:
    names: set[str] = set()
    for app, alias in keys:  # each one a range of the index that stops after a page; their union may not be
        page_of = "SELECT device FROM devices WHERE app = :app AND alias = :alias AND device > :after ORDER BY device LIMIT :limit"
        page = {"app": app, "alias": alias, "after": after, "limit": limit}
        names.update(device for (device,) in fetch(conn, page_of, ("device",), page))
    return sorted(names)[:limit]


def _drop_tokens(conn: Connection, dead: Sequence[DeadToken]) -> None:
    found = _load(conn, [(item.app, item.device) for item in dead])
    changed: dict[DeviceKey, Device] = {}
    for item in dead:
        key = (item.app, item.device)
        device = changed.get(key) or found.get(key)
        if device is None or device.vendor_tokens.get(item.channel) != item.token:
            continue  # it has a new one by now: compare before deleting
        tokens = {channel: token for channel, token in device.vendor_tokens.items() if channel != item.channel}
        changed[key] = msgspec.structs.replace(device, vendor_tokens=tokens)
    _store(conn, changed.values())
