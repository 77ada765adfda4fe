"""`taco doctor` as a command."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
from push_core.adapters import open_devices
from tests.support.maria import Tables
from tests.support.terminal import Done, taco


def by_name(done: Done) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in done.json()["checks"]}


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def doctor(data: Path, env: Mapping[str, str] | None = None, *options: str) -> Done:
    return await taco("doctor", "--data", str(data), "--json", *options, env=dict(env or {}), cwd=data)


async def test_where_nothing_was_started_yet_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    done = await doctor(tmp_path)
    assert done.status == 0, done.err
    assert done.json()["ok"]
    assert names_in(tmp_path) == []


async def test_the_files_of_embedded_stores_are_looked_at(tmp_path: Path) -> None:
    for name in ("devices", "messages"):
        await (await open_devices(f"sqlite:///{tmp_path}/{name}.sqlite")).close()
    (tmp_path / "messages.sqlite").write_bytes(b"this was a database once" * 100)
    done = await doctor(tmp_path)
    found = by_name(done)
    assert done.status == 1
    assert found["device store"]["verdict"] == "ok"
    assert found["device store, durability"]["found"] == "synchronous=FULL"
    assert found["message store"]["verdict"] == "fail"


async def test_servers_that_are_away_are_found_each_by_name_and_no_password_is_shown(tmp_path: Path) -> None:
    env = {
        "TACO_STORES_MESSAGES": "mysql://taco:hunter2@127.0.0.1:1/taco",
        "TACO_STORES_DEVICES": "mysql://taco:hunter2@127.0.0.1:1/taco",
        "TACO_STORES_PRESENCE": "redis://:hunter2@127.0.0.1:1/0",
        "TACO_STORES_CLAIMS": "redis://:hunter2@127.0.0.1:1/0",
        "TACO_STORES_QUEUES": "amqp://taco:hunter2@127.0.0.1:1/",
    }
    done = await doctor(tmp_path, env)
    failed = {name for name, check in by_name(done).items() if check["verdict"] == "fail"}
    assert done.status == 1
    assert failed == {"message store", "device store", "presence, claims", "queues", "nodes", "control", "cluster key"}
    assert "hunter2" not in done.out + done.err
    assert all(check["do"] for check in by_name(done).values() if check["verdict"] == "fail")


async def test_real_servers_are_asked_what_they_are(
    tmp_path: Path, redis_server: RedisServer, maria_server: MariaServer, rabbit_server: RabbitServer
) -> None:
    env = {
        "TACO_STORES_MESSAGES": maria_server.dsn,
        "TACO_STORES_DEVICES": maria_server.dsn,
        "TACO_STORES_PRESENCE": redis_server.dsn,
        "TACO_STORES_CLAIMS": redis_server.dsn,
        "TACO_STORES_LIMITS": redis_server.dsn,
        "TACO_STORES_QUEUES": rabbit_server.dsn,
        "TACO_STORES_CLUSTER_KEY": "k" * 32,
    }
    done = await doctor(tmp_path, env, "--apis", "10", "--gateways", "20", "--dispatchers", "10")
    found = by_name(done)
    assert done.status == 1, done.out
    assert found["message store"]["found"].startswith("MariaDB ")
    assert found["message store, durability"]["verdict"] == "ok"
    assert found["message store, tables"]["verdict"] == "fail"
    assert found["message store, tables"]["do"] == "`taco db upgrade`"
    assert found["message store, connections"]["verdict"] == "fail"
    assert "40 processes" in found["message store, connections"]["found"]
    assert found["presence, claims, limits"]["found"].startswith("Redis ")
    assert found["queues"]["found"].startswith("RabbitMQ ")
    assert found["nodes"]["verdict"] == "warn", "nobody runs"


async def test_a_database_with_its_tables_is_well(tmp_path: Path, maria_tables: Tables) -> None:
    env = {"TACO_STORES_MESSAGES": maria_tables.dsn, "TACO_STORES_DEVICES": maria_tables.dsn}
    done = await doctor(tmp_path, env)
    assert done.status == 0, done.out
    assert by_name(done)["device store, tables"]["verdict"] == "ok"


async def test_the_processes_of_a_cluster_are_counted_by_its_file(tmp_path: Path, maria_tables: Tables) -> None:
    env = {
        "TACO_STORES_MESSAGES": maria_tables.dsn,
        "TACO_STORES_DEVICES": maria_tables.dsn,
        "TACO_STORES_CLUSTER_KEY": "k" * 20,
    }
    roles = ["api", "gateway", "gateway", "dispatcher"]
    (tmp_path / "cluster.json").write_text(json.dumps({"processes": [{"role": role} for role in roles]}))
    done = await doctor(tmp_path, env)
    assert "4 processes" in by_name(done)["message store, connections"]["found"]


@pytest.mark.parametrize("option", ["--config", "--gateways"])
async def test_bad_usage_is_a_sentence(tmp_path: Path, option: str) -> None:
    done = await doctor(tmp_path, {}, option, "nowhere")
    assert done.status == 2
