"""`taco debug` and `taco status` against the admin port of a process that is seen into."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ops.admin.inside import Inside
from ops.admin.settings import AdminSettings
from ops.commands import debug, status
from ops.commands.output import CommandFailed

KEY = "cluster-secret"
GONE = 2**22 + 1  # above the kernel's highest process id


class Running:
    """A process as `taco cluster` would write it down."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.port = port
        self.missing: list[str] = []
        self.write(("gateway-1", os.getpid(), {"admin": port}))

    async def ready(self) -> list[str]:
        return self.missing

    def write(self, *processes: tuple[str, int, dict[str, int]]) -> None:
        entries = [{"name": name, "role": "gateway", "pid": pid, "ports": ports} for name, pid, ports in processes]
        servers = [{"name": "redis", "pid": os.getpid(), "dsn": "redis://127.0.0.1"}]
        (self.data / "cluster.json").write_text(json.dumps({"processes": entries, "servers": servers}))


@pytest.fixture
async def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.delenv("TACO_STORES_CLUSTER_KEY", raising=False)
    (tmp_path / "cluster.key").write_text(KEY + "\n")
    process = Running(tmp_path, 0)
    inside = Inside(AdminSettings(sample_s=0.1), role="gateway", name="gateway-1", key=KEY, ready=process.ready)
    async with inside:
        process.port = inside.port or 0
        process.write(("gateway-1", os.getpid(), {"admin": process.port}))
        yield process


async def out_of(capsys: pytest.CaptureFixture[str], command: Any, **options: Any) -> str:
    """A command runs in a thread: the loop answers it."""
    await asyncio.to_thread(command, **options)
    return capsys.readouterr().out


async def test_tasks_are_a_table_for_people_and_json_for_machines(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    text = await out_of(capsys, debug.tasks, data=running.data, full=True)
    assert "admin.samples" in text
    assert "ops/admin/inside.py" in text
    found = json.loads(await out_of(capsys, debug.tasks, name="gateway-1", data=running.data, as_json=True))
    assert found["tasks"] >= 1
    only = json.loads(await out_of(capsys, debug.tasks, of="samples", data=running.data, as_json=True))
    assert [group["name"] for group in only["groups"]] == ["admin.samples"]


async def test_stacks_are_shown_and_sampled(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert "thread MainThread" in await out_of(capsys, debug.stacks, data=running.data)
    assert "of event loop" in await out_of(capsys, debug.stacks, data=running.data, seconds=1)


async def test_the_heap_is_shown(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    text = await out_of(capsys, debug.heap, admin=f"127.0.0.1:{running.port}", data=running.data, by="count")
    assert "resident" in text
    assert "builtins.dict" in text


async def test_another_key_and_no_key_are_said(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACO_STORES_CLUSTER_KEY", "another")
    with pytest.raises(CommandFailed, match="has another cluster key"):
        await asyncio.to_thread(debug.tasks, data=running.data)
    monkeypatch.delenv("TACO_STORES_CLUSTER_KEY")
    (running.data / "cluster.key").unlink()
    monkeypatch.chdir(running.data)
    with pytest.raises(CommandFailed, match="no cluster key: set TACO_STORES_CLUSTER_KEY"):
        await asyncio.to_thread(debug.tasks, data=running.data)
    settings = running.data / "taco.toml"
    settings.write_text(f'[stores]\ncluster_key = "{KEY}"\n')
    await asyncio.to_thread(debug.tasks, data=running.data)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "gateway-9"}, "has no process gateway-9; it has gateway-1, quiet, gone"),
        ({}, "which one\\? give --name: gateway-1, quiet, gone"),
        ({"name": "quiet"}, "quiet has no admin port"),
        ({"admin": "nonsense"}, "'nonsense' is not HOST:PORT"),
        ({"admin": "127.0.0.1:1"}, "If its loop is held: kill -USR1 PID"),
    ],
)
async def test_what_cannot_be_reached_is_said_with_the_way_out(
    running: Running, options: dict[str, Any], sentence: str
) -> None:
    running.write(("gateway-1", os.getpid(), {"admin": running.port}), ("quiet", 1, {}), ("gone", GONE, {"admin": 1}))
    with pytest.raises(CommandFailed, match=sentence):
        await asyncio.to_thread(debug.tasks, **options, data=running.data)


async def test_without_a_cluster_the_sentence_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="or give --admin HOST:PORT"):
        debug.heap(data=tmp_path)
    (tmp_path / "cluster.json").write_text("[]")
    with pytest.raises(CommandFailed, match="is not what `taco cluster` writes"):
        debug.heap(data=tmp_path)
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(CommandFailed, match="cannot be read"):
        debug.heap(data=tmp_path)


async def test_a_query_that_makes_no_sense_is_bad_usage(running: Running) -> None:
    with pytest.raises(CommandFailed, match="by must be bytes or count") as failed:
        await asyncio.to_thread(debug.heap, data=running.data, by="age")
    assert failed.value.status == 2


async def test_the_signal_reaches_the_process(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
    text = await out_of(capsys, debug.stacks, data=running.data, by_signal=True)
    await told.wait()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert "writes its stacks to its log" in text
    with pytest.raises(CommandFailed, match="needs a process id"):
        debug.stacks(admin="127.0.0.1:1", by_signal=True)
    running.write(("gone", GONE, {}))
    with pytest.raises(CommandFailed, match="is gone"):
        debug.stacks(data=running.data, by_signal=True)


async def test_status_says_who_takes_no_work_and_why(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    text = await out_of(capsys, status.status, data=running.data)
    assert "gateway-1" in text
    assert "redis" in text
    running.missing.append("presence: no answer")
    running.write(("gateway-1", os.getpid(), {"admin": running.port}), ("quiet", os.getpid(), {}), ("gone", GONE, {}))
    with pytest.raises(Exception) as failed:
        await asyncio.to_thread(status.status, data=running.data, as_json=True)
    assert getattr(failed.value, "exit_code", None) == 1
    found = {line["name"]: line for line in json.loads(capsys.readouterr().out)["processes"]}
    assert found["gateway-1"]["reasons"] == ["presence: no answer"]
    assert found["quiet"]["reasons"] == ["it has no admin port to ask"]
    assert found["gone"]["reasons"] == [f"process {GONE} is gone"]
    assert found["redis"]["ready"]


async def test_status_of_addresses_needs_no_cluster(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    text = await out_of(capsys, status.status, admin=[f"127.0.0.1:{running.port}"])
    assert "yes" in text
