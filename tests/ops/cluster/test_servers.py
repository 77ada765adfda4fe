"""Private servers: they answer, come back with their data on the same port, and leave nobody behind."""

import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pymysql
import pytest
import redis

from ops.cluster.servers import KINDS, MariaServer, RabbitServer, RedisServer, Server, ServerFailed, missing
from ops.cluster.servers.ports import free_port, is_free
from push_core.errors import ConfigError
from tests.support.servers import require_server

pytestmark = pytest.mark.timeout(180)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def connect(
    server: MariaServer, user: str = "taco", password: str | None = None
) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    known = server.dsn.partition("://")[2].partition("@")[0].partition(":")[2]
    return pymysql.connect(host="127.0.0.1", port=server.port, user=user, password=password or known, connect_timeout=5)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_server_starts_dies_comes_back_on_its_port_and_stops(kind: type[Server], tmp_path: Path) -> None:
    require_server(kind)
    folder = (
        tmp_path / "of its own" / ("long " * 20).strip()
    )  # longer than the path of a Unix socket may be, and with spaces
    server = kind(folder).start()
    try:
        first, port, dsn = server.pid, server.port, server.dsn
        assert server.answers()
        assert Path(f"/proc/{first}/comm").read_text().strip() in {"redis-server", "mariadbd", "beam.smp"}
        server.kill()
        assert not server.running
        assert not alive(first)
        assert not server.answers()
        server.start()
        assert (server.port, server.dsn) == (port, dsn)
        assert server.pid != first
        assert kind(folder).dsn == dsn
    finally:
        server.stop()
    assert not server.running
    assert is_free(port)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_secrets_are_random_and_for_their_owner_only(kind: type[Server], tmp_path: Path) -> None:
    one, two = kind(tmp_path / "one"), kind(tmp_path / "two")
    assert one.dsn != two.dsn
    assert "password" not in repr(one)
    for path in one.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(one.folder.stat().st_mode) == 0o700


def test_a_paused_server_lives_and_does_not_answer(tmp_path: Path) -> None:
    require_server(RedisServer)
    with RedisServer(tmp_path) as server:
        server.pause()
        assert server.running
        assert not server.answers()
        server.resume()
        assert server.answers()
        server.pause()  # stopping a paused one works as well


def test_redis_asks_for_its_password_and_comes_back_empty(tmp_path: Path) -> None:
    require_server(RedisServer)
    with RedisServer(tmp_path) as server:
        with redis.Redis.from_url(server.dsn) as client:
            client.set("a", "1")
        with redis.Redis(host="127.0.0.1", port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        server.kill()
        server.start()
        with redis.Redis.from_url(server.dsn) as client:
            assert client.dbsize() == 0


def test_mariadb_keeps_what_was_committed_when_it_is_killed(tmp_path: Path) -> None:
    require_server(MariaServer)
    with MariaServer(tmp_path) as server:
        with connect(server) as client, client.cursor() as cursor:
            cursor.execute("CREATE DATABASE taco_other")
            cursor.execute("CREATE TABLE taco_other.kept (id INT PRIMARY KEY)")
            cursor.execute("INSERT INTO taco_other.kept VALUES (7)")
            client.commit()
            cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@global.sql_mode LIKE '%STRICT%'")
            assert cursor.fetchone() == (1, 0, 1)
        server.kill()
        server.start()
        with connect(server) as client, client.cursor() as cursor:
            cursor.execute("SELECT id FROM taco_other.kept")
            assert cursor.fetchall() == ((7,),)
            cursor.execute("SELECT user, host FROM mysql.global_priv WHERE user NOT LIKE 'mariadb.%'")
            assert set(cursor.fetchall()) == {("root", "localhost"), ("taco", "127.0.0.1")}
        for user in ("root", "taco", ""):
            with pytest.raises(pymysql.err.OperationalError):
                connect(server, user, "wrong")


def test_rabbitmq_has_no_guest_and_can_have_more_vhosts(rabbit_server: RabbitServer) -> None:
    server = rabbit_server
    assert [line.split("\t")[0] for line in server.ctl("list_users", "--no-table-headers").splitlines()] == ["taco"]
    assert server.add_vhost("for-this-test").endswith("/for-this-test")
    assert {"taco", "for-this-test"} <= set(server.ctl("list_vhosts", "--no-table-headers").split())
    with pytest.raises(ServerFailed, match="rabbitmqctl add_vhost failed"):
        server.ctl("add_vhost")


def test_all_listen_on_loopback_only(redis_server: Server, maria_server: Server, rabbit_server: Server) -> None:
    listening = subprocess.run(["ss", "-tlnpH"], capture_output=True, text=True, check=True).stdout
    for server in (redis_server, maria_server, rabbit_server):
        mine = [line.split()[3] for line in listening.splitlines() if f"pid={server.pid}," in line]
        assert mine
        assert all(address.startswith("127.0.0.1:") for address in mine), mine


_STARTS_AND_WAITS = """
import sys, threading
from pathlib import Path
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
servers = [kind(Path(sys.argv[1]) / kind.name) for kind in (RedisServer, MariaServer, RabbitServer)]
starting = [threading.Thread(target=server.start) for server in servers]
[thread.start() for thread in starting]
[thread.join() for thread in starting]
print(*(server.pid for server in servers), servers[2]._epmd.pid, flush=True)
threading.Event().wait()
"""


def test_servers_outlive_the_thread_that_started_them_and_die_with_a_process_that_is_killed(tmp_path: Path) -> None:
    for kind in KINDS:
        require_server(kind)
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTS_AND_WAITS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout is not None
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        assert len(pids) == 4
        assert all(alive(pid) for pid in pids)
    finally:
        starter.kill()
        starter.communicate()
    assert all(gone(pid) for pid in pids)


def test_a_server_that_does_not_start_says_what_it_said(tmp_path: Path) -> None:
    require_server(RedisServer)
    server = RedisServer(tmp_path)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with pytest.raises(ServerFailed, match=r"redis-server ended with status 1; its log is .*in use"):
            server.start()
    assert not server.running


def test_a_folder_whose_state_can_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text("{}")
    with pytest.raises(ConfigError, match="to begin anew"):
        RedisServer(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used as a server's folder"):
        RedisServer(tmp_path / "file")
    with pytest.raises(ConfigError, match="apostrophe in its path"):
        RabbitServer(tmp_path / "it's here")


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cluster.servers.base.find", lambda program: None)
    monkeypatch.setattr("ops.cluster.servers.maria.find", lambda program: None)
    monkeypatch.setattr("ops.cluster.servers.rabbit.find", lambda program: None)
    assert missing() == {
        "redis-server": "redis-server",
        "mariadbd": "mariadb-server",
        "rabbitmq-server": "rabbitmq-server",
    }


def test_free_ports_are_not_where_the_kernel_puts_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = {free_port() for _ in range(50)}
    assert max(ports) < first
    assert len(ports) > 40
