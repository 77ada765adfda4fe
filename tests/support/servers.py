"""Real servers for tests: `redis_server`, `maria_server`, `rabbit_server`.

Each is started when the first test asks for it, once for a pytest process (so each xdist worker has its own), and ended with its data at
the end of the session; killed with SIGKILL by the kernel should pytest itself be killed. Tests share the one instance and keep apart by
a key prefix, a database (`maria_server.dsn_of(name)`) or a vhost (`rabbit_server.add_vhost(name)`) of their own. A test that kills or
holds a server starts one for itself (`RedisServer(tmp_path)`), after `require_server(RedisServer)`.

A server that is not installed skips its tests with one line; with CI in the environment they fail.
"""

import os
import shutil
from collections.abc import Iterator

import pytest

from ops.cluster.servers import MariaServer, RabbitServer, RedisServer, Server


def require_server(kind: type[Server]) -> None:
    """Skip the test if the server is not installed; fail it in CI."""
    if kind.available():
        return
    sentence = f"{kind.name} is not installed: apt-get install {kind.package}"
    if "CI" in os.environ:
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def _run(kind: type[Server], factory: pytest.TempPathFactory) -> Iterator[Server]:
    require_server(kind)
    server = kind(factory.mktemp(kind.name))
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(
            server.folder, ignore_errors=True
        )  # a database takes 100 MB, and pytest keeps folders of several runs


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _run(RedisServer, tmp_path_factory)


@pytest.fixture(scope="session")
def maria_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _run(MariaServer, tmp_path_factory)


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from _run(RabbitServer, tmp_path_factory)
