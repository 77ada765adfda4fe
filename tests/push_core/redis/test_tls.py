"""Redis behind TLS, and certificates that don't fit."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cluster.servers import RedisServer
from push_core.dsn import Dsn
from push_core.errors import Unavailable
from push_core.redis.client import RedisClient
from push_core.redis.place import SCHEMES
from tests.support.certificates import Authority
from tests.support.redis_cluster import OwnRedis
from tests.support.servers import require_server

PING = (0, (b"PING",))


class TlsRedis(OwnRedis):
    """Port `bus` speaks TLS; the plain one is for the starter."""

    def _launch(self) -> subprocess.Popen[bytes]:
        self.lines = (*self.lines, f"tls-port {self._ports['bus']}")
        return super()._launch()

    def tls(self, scheme: str, **options: object) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"{scheme}://:{self._password}@127.0.0.1:{self._ports['bus']}/0?timeout_ms=2000{more}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    require_server(RedisServer)
    files = authority.issue("127.0.0.1", file="redis")
    lines = (
        f"tls-cert-file {files.cert}",
        f"tls-key-file {files.key}",
        f"tls-ca-cert-file {files.ca}",
        "tls-auth-clients no",
    )
    with TlsRedis(tmp_path_factory.mktemp("redis-tls"), "secret", *lines) as server:
        assert isinstance(server, TlsRedis)
        yield server


async def asked(dsn: str) -> object:
    client, _ = RedisClient.open(Dsn.parse(dsn, "[stores] presence", SCHEMES), (), None)
    try:
        return (await client.call(PING))[0]
    finally:
        await client.close()


async def test_with_the_authority_that_signed_it_a_server_is_trusted(server: TlsRedis, authority: Authority) -> None:
    assert await asked(server.tls("rediss", ca=authority.ca)) == b"PONG"


async def test_a_certificate_that_nobody_here_trusts_is_refused(server: TlsRedis, tmp_path: Path) -> None:
    for dsn in (server.tls("rediss"), server.tls("rediss", ca=Authority(tmp_path).ca)):
        with pytest.raises(Unavailable, match=r"TLS failed \(CERTIFICATE_VERIFY_FAILED\)"):
            await asked(dsn)


async def test_a_certificate_for_another_host_is_refused(server: TlsRedis, authority: Authority) -> None:
    if socket.gethostbyname("localhost") != "127.0.0.1":
        pytest.skip("localhost is elsewhere")
    with pytest.raises(Unavailable, match="TLS failed"):
        await asked(server.tls("rediss", ca=authority.ca).replace("127.0.0.1", "localhost"))


async def test_a_file_of_authorities_that_is_not_there_is_told(server: TlsRedis, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no such file"):
        await asked(server.tls("rediss", ca=tmp_path / "none.pem"))


async def test_tls_to_a_plain_port_and_the_other_way_round_end_with_a_reason(
    server: TlsRedis, authority: Authority
) -> None:
    plain = server.tls("rediss", ca=authority.ca).replace(str(server._ports["bus"]), str(server.port))
    with pytest.raises(Unavailable):
        await asked(plain)
    with pytest.raises(Unavailable):
        await asked(server.tls("redis"))
