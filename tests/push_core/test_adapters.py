import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from push_core.adapters import StoreSettings, open_ports
from push_core.clock import Clock
from push_core.errors import ConfigError
from push_core.metrics.memory import MemoryMetrics
from push_core.metrics.null import NullMetrics
from push_core.rpc.grpc import GrpcRpc
from push_core.rpc.inproc import InprocRpc
from push_core.settings import describe, load


@pytest.fixture
def settings(tmp_path: Path) -> StoreSettings:
    return StoreSettings(
        messages=f"sqlite:///{tmp_path}/messages.sqlite", devices=f"sqlite:///{tmp_path}/devices.sqlite"
    )


async def test_the_defaults_open_everything_with_nothing_else_installed(
    settings: StoreSettings, tmp_path: Path
) -> None:
    ports = await open_ports(settings, clock=Clock(), data=tmp_path / "data")
    await asyncio.gather(ports.messages.ping(), ports.devices.ping(), ports.presence.ping(), ports.queues.ping())
    assert isinstance(ports.metrics, NullMetrics)
    assert isinstance(ports.rpc, GrpcRpc)
    entry = await ports.control.control.put("switch", True)
    await ports.control.poll()
    assert entry is not None
    assert ports.control.value("switch") is True
    assert (tmp_path / "data" / "control.json").exists()
    await ports.close()


async def test_without_a_data_folder_control_keeps_no_copy(settings: StoreSettings, tmp_path: Path) -> None:
    ports = await open_ports(settings, clock=Clock(), data=None)
    await ports.control.control.put("switch", True)
    await ports.control.poll()
    await ports.close()
    assert not list(tmp_path.rglob("*.json"))  # noqa: ASYNC240


async def test_a_scheme_picks_the_adapter(settings: StoreSettings) -> None:
    chosen = replace(settings, metrics="memory://?size=5", rpc="inproc://?max_in_flight=2", queues="memory://?length=1")
    ports = await open_ports(chosen, clock=Clock(), data=None)
    assert isinstance(ports.metrics, MemoryMetrics)
    assert isinstance(ports.rpc, InprocRpc)
    assert ports.rpc.max_in_flight == 2
    await ports.close()


@pytest.mark.parametrize(
    ("port", "dsn", "reason"),
    [
        (
            "messages",
            "oracle://db",
            "[stores] messages: 'oracle://db' must start with one of mariadb://, mysql://, sqlite://",
        ),
        ("devices", "sqllite:///x", "did you mean sqlite://?"),
        (
            "presence",
            "memroy://",
            (
                "[stores] presence: 'memroy://' must start with one of memory://, redis://, redis+cluster://, redis+sentinel://, "
                "rediss://, rediss+cluster://, rediss+sentinel://; did you mean memory"
            ),
        ),
        ("claims", "memory", "[stores] claims: 'memory' must start with one of memory://"),
        ("queues", "memory://?lenght=5", "lenght is not an option of memory://; did you mean length?"),
        ("queues", "memory://?length=0", "option length must be a whole number of at least 1, got '0'"),
        ("trail", "null://", "[stores] trail: 'null://' must start with one of memory://"),
        ("metrics", "null://?size=1", "size is not an option of null://"),
        ("metrics", "x://", "must start with one of memory://, null://"),
        ("rpc", "grpc://127.0.0.1", "[stores] rpc must look like grpc://HOST:PORT"),
        ("rpc", "http://127.0.0.1:1", "must start with one of grpc://, inproc://"),
    ],
)
async def test_a_dsn_that_cannot_be_used_is_refused_and_what_was_opened_is_closed(
    settings: StoreSettings, port: str, dsn: str, reason: str
) -> None:
    changed = replace(settings, **{port: dsn})  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        await open_ports(changed, clock=Clock(), data=None)
    assert reason in str(caught.value)


def test_a_driver_is_loaded_only_when_its_scheme_is_chosen() -> None:
    drivers = ("sqlalchemy", "grpc", "redis", "aiormq", "pymysql", "elasticsearch", "statsd")
    script = f"import sys, push_core.adapters; print([name for name in {drivers} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_the_section_is_read_and_described_like_any_other() -> None:
    settings = load(
        StoreSettings,
        "stores",
        tables={"stores": {"receipts": {"east": ["10.0.0.1:7001"]}}},
        env={"TACO_STORES_CLUSTER_KEY": "hush", "TACO_STORES_METRICS": "memory://"},
    )
    assert settings.receipts == {"east": ("10.0.0.1:7001",)}
    assert (settings.metrics, settings.cluster_key) == ("memory://", "hush")
    described = {line.key: line for line in describe(StoreSettings, "stores")}
    assert described["stores.messages"].default == "sqlite:///data/messages.sqlite"
    assert described["stores.cluster_key"].default == ""


def test_no_repr_shows_a_secret() -> None:
    shown = repr(StoreSettings(messages="mysql://taco:hunter2@db/taco", cluster_key="hush"))
    assert "hunter2" not in shown
    assert "hush" not in shown
    assert "mysql://taco:***@db/taco" in shown
