"""How presence lies in Redis: names of keys, fields and values. Pure; the scripts that know it too are in `redis_scripts.py`.

    PREFIX:r:{TAG}:BUCKET     hash    routes: field = app \\0 device (beyond 24 bytes 0xff and a hash), value below
    PREFIX:n:{TAG0}:LEASE     string  a node's record in MessagePack, with the time to live of its lease
    PREFIX:n:{TAG0}:leases    zset    every lease whose routes may still be there, by the second of its last renewal
    PREFIX:n:{TAG0}:layout    string  version of this layout and number of buckets

A lease is four random bytes (in keys: hex), drawn whenever a node takes one anew, so routes of a lease that ran out stay void even when
their node leases again. A route's value, big-endian:

    lease 4 | epoch 4 | since 6 | kind of install in the high, length of attempt in the low half of 1 | attempt 0–15 | install

Devices share buckets so that Redis keeps each as a listpack: 512 fields at most (`hash-max-listpack-entries`) of 64 bytes at most.
"""

import zlib
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct

import msgspec

from push_core.presence.port import Node, Route
from push_core.redis.tags import COUNT, TAGS

VERSION = 1
LONGEST_NAME = 24  # bytes: a hash takes 13
LEASE_BYTES = 4
LEASE_TAG = 0
_HEAD = Struct(">4sIHIB")
_IDENTITY = Struct(">4sI")
_TEXT, _HEX = 0x10, 0x20  # kinds of install
_RECORD = msgspec.msgpack.Encoder()
_NODE = msgspec.msgpack.Decoder(Node)

LeaseId = bytes


class Layout:
    """`keys` are those of all buckets; bucket b has tag b % 64."""

    def __init__(self, prefix: bytes, buckets: int) -> None:
        self.buckets = buckets
        self.keys = [b"%b:r:{%b}:%d" % (prefix, TAGS[bucket % COUNT], bucket) for bucket in range(buckets)]
        self.lease_prefix = b"%b:n:{%b}:" % (prefix, TAGS[LEASE_TAG])
        self.leases = self.lease_prefix + b"leases"
        self.layout = self.lease_prefix + b"layout"
        self.stamp = b"%d %d" % (VERSION, buckets)

    def lease(self, lease: LeaseId) -> bytes:
        return self.lease_prefix + lease.hex().encode()

    def place(self, app: str, device: str) -> tuple[int, bytes]:
        """Bucket and field. No name has a zero byte or, being UTF-8, the byte 0xff."""
        name = f"{app}\0{device}".encode()
        bucket = zlib.crc32(name) % self.buckets
        if len(name) > LONGEST_NAME:
            name = b"\xff" + blake2b(name, digest_size=12).digest()
        return bucket, name


def tag_of_bucket(bucket: int) -> int:
    return bucket % COUNT


def pack_route(lease: LeaseId, route: Route) -> bytes:
    attempt = route.attempt.to_bytes((route.attempt.bit_length() + 7) // 8, "big")
    kind, install = _pack_install(route.install)
    since = route.since
    return _HEAD.pack(lease, route.epoch, since >> 32, since & 0xFFFFFFFF, kind | len(attempt)) + attempt + install


def identity(lease: LeaseId, epoch: int) -> bytes:
    """The first bytes of a route's value: which connection it is."""
    return _IDENTITY.pack(lease, epoch)


def lease_of(value: bytes) -> LeaseId:
    return value[:LEASE_BYTES]


def unpack_route(value: bytes, app: str, device: str, incarnation: str) -> Route:
    _, epoch, since_high, since_low, flags = _HEAD.unpack_from(value)
    end = _HEAD.size + (flags & 15)
    return Route(
        app=app,
        device=device,
        incarnation=incarnation,
        epoch=epoch,
        install=_unpack_install(flags & 0xF0, value[end:]),
        attempt=int.from_bytes(value[_HEAD.size : end], "big"),
        since=since_high << 32 | since_low,
    )


def stands_against(old: Route, new: Route) -> bool:
    """Whether a live `old` keeps its place: the same installation with a higher attempt."""
    return bool(old.install) and old.install == new.install and old.attempt > new.attempt


def pack_node(node: Node) -> bytes:
    return _RECORD.encode(node)


def unpack_node(record: bytes) -> Node:
    return _NODE.decode(record)


def join(leases: Sequence[LeaseId]) -> bytes:
    return b"".join(leases)


def _pack_install(install: str) -> tuple[int, bytes]:
    """Installations of our SDKs are 32 hex digits: half as long in binary."""
    if not install:
        return 0, b""
    if len(install) == 32:
        try:
            raw = bytes.fromhex(install)
        except ValueError:
            raw = b""
        if raw.hex() == install:
            return _HEX, raw
    return _TEXT, install.encode()


def _unpack_install(kind: int, raw: bytes) -> str:
    if kind == _HEX:
        return raw.hex()
    return raw.decode() if kind == _TEXT else ""
