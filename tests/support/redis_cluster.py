"""A real Redis Cluster of three servers without replicas, and servers behind a Sentinel."""

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import redis

from ops.cluster.servers import RedisServer
from ops.cluster.servers.base import require
from ops.demo_file import write_private
from tests.support.redis_time import direct
from tests.support.servers import require_server

SLOTS = 16_384
_WITHIN_S = 30.0


class OwnRedis(RedisServer):
    """A Redis with more lines in its configuration, and a password that others share."""

    port_names = ("port", "bus")

    def __init__(self, folder: Path, password: str, *lines: str) -> None:
        super().__init__(folder)
        self._password = password
        self.lines = lines

    def _launch(self) -> subprocess.Popen[bytes]:
        config = self.folder / "redis.conf"
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            f"requirepass {self._password}",
            f"masterauth {self._password}",
            "appendonly no",
            'save ""',
            "repl-diskless-sync-delay 0",
            *self.lines,
        )
        write_private(config, "\n".join(lines) + "\n")
        return self._spawn(require(self.program), str(config))


class RedisCluster:
    """Three masters, each with a third of the slots. `dsn` names one of them and finds the others."""

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_urlsafe(12)
        self.nodes = [OwnRedis(folder / f"node-{number}", self.password) for number in range(3)]
        for node in self.nodes:
            node.lines = ("cluster-enabled yes", f"cluster-port {node._ports['bus']}", "cluster-node-timeout 5000")

    @property
    def dsn(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        return f"redis+cluster://:{self.password}@{hosts}/"

    @property
    def dsns(self) -> list[str]:
        return [node.dsn for node in self.nodes]

    def start(self) -> Self:
        share = SLOTS // len(self.nodes)
        for number, node in enumerate(self.nodes):
            node.start()
            last = SLOTS - 1 if number == len(self.nodes) - 1 else (number + 1) * share - 1
            with direct(node.dsn) as server:
                # A node that has one already keeps it: two that are equal are told apart by Redis itself, only later.
                with contextlib.suppress(redis.ResponseError):
                    server.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                server.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        for node in self.nodes[1:]:
            with direct(self.nodes[0].dsn) as server:
                server.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node._ports["bus"])
        until(lambda: all(self._whole(node.dsn) for node in self.nodes))
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()

    def _whole(self, dsn: str) -> bool:
        with direct(dsn) as server:
            info: bytes | dict[str, str] = server.execute_command("CLUSTER", "INFO")
            text = info.decode() if isinstance(info, bytes) else str(info)
            known = "cluster_known_nodes:3" in text or "'cluster_known_nodes': '3'" in text
            return known and ("cluster_state:ok" in text or "'cluster_state': 'ok'" in text)


class SentinelSite:
    """A master, a replica and one Sentinel that makes the replica the master when the master has been gone for a moment."""

    SERVICE = "taco"

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_urlsafe(12)
        self.master = OwnRedis(folder / "master", self.password)
        self.replica = OwnRedis(folder / "replica", self.password, f"replicaof 127.0.0.1 {self.master.port}")
        self.sentinel = _Sentinel(folder / "sentinel", self.password, self.SERVICE, self.master.port)

    @property
    def dsn(self) -> str:
        """The first Sentinel that it names does not exist."""
        return f"redis+sentinel://:{self.password}@127.0.0.1:1,127.0.0.1:{self.sentinel.port}/{self.SERVICE}/0"

    def start(self) -> Self:
        self.master.start()
        self.replica.start()
        until(lambda: self._replicates())
        self.sentinel.start()
        until(lambda: self._sentinel_knows_the_replica())
        return self

    def stop(self) -> None:
        for server in (self.sentinel, self.replica, self.master):
            server.kill()

    def fail_over(self) -> bool:
        """Make the replica the master, while both are well. False if the Sentinel does not know enough of it yet."""
        with redis.Redis(port=self.sentinel.port) as sentinel:
            return bool(sentinel.execute_command("SENTINEL", "FAILOVER", self.SERVICE))

    def _replicates(self) -> bool:
        with direct(self.replica.dsn) as server:
            return bool(server.info("replication")["master_link_status"] == "up")

    def _sentinel_knows_the_replica(self) -> bool:
        with redis.Redis(port=self.sentinel.port) as sentinel:
            replicas = sentinel.execute_command("SENTINEL", "REPLICAS", self.SERVICE)
            return bool(replicas)


class _Sentinel(OwnRedis):
    def __init__(self, folder: Path, password: str, service: str, master: int) -> None:
        super().__init__(folder, password)
        self._watch = (service, master)

    def _launch(self) -> subprocess.Popen[bytes]:
        service, master = self._watch
        config = self.folder / "sentinel.conf"
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"dir {self.folder}",
            f"sentinel monitor {service} 127.0.0.1 {master} 1",
            f"sentinel auth-pass {service} {self._password}",
            f"sentinel down-after-milliseconds {service} 300",
            f"sentinel failover-timeout {service} 2000",
        )
        write_private(config, "\n".join(lines) + "\n")
        return self._spawn(require(self.program), str(config), "--sentinel")

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port) as sentinel:
                return bool(sentinel.ping())
        except redis.RedisError:
            return False


def until(true: Callable[[], bool]) -> None:
    """Wait for it, while servers settle."""
    deadline = time.monotonic() + _WITHIN_S
    while True:
        try:
            if true():
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < deadline, "the servers do not settle"
        time.sleep(0.05)


@contextmanager
def running(kind: type[RedisCluster] | type[SentinelSite], folder: Path) -> Iterator[RedisCluster | SentinelSite]:
    require_server(RedisServer)
    site = kind(folder)
    try:
        yield site.start()
    finally:
        site.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running(RedisCluster, tmp_path_factory.mktemp("redis-cluster")) as cluster:
        assert isinstance(cluster, RedisCluster)
        yield cluster


def dsns_of(site: RedisServer | RedisCluster) -> Sequence[str]:
    """Each server of it, to be spoken to directly."""
    return site.dsns if isinstance(site, RedisCluster) else [site.dsn]
