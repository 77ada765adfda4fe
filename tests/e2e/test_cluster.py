"""`taco cluster`: real servers, each program a process of its own, and all of it whole again after some of them die."""

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from bench.cluster_process import ClusterProcess, start_cluster
from bench.taco_process import DidNotStart
from ops.cluster.servers import KINDS
from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.wire_client import Device, Fleet
from tests.support.servers import require_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ALL = {
    "api-1": "api",
    "gateway-1": "gateway",
    "gateway-2": "gateway",
    "dispatcher-1": "dispatcher",
    "dispatcher-2": "dispatcher",
}
BACK_S = 60.0


async def test_a_cluster_delivers_heals_and_ends(tmp_path: Path) -> None:
    for kind in KINDS:
        require_server(kind)
    data = tmp_path / "cluster"
    async with start_cluster(data) as cluster:
        says_what_runs(cluster)
        async with phones(cluster) as shown:
            await push_to_all(cluster, shown, "first")
        await refuses_a_second_one(cluster)
        before = cluster.state()
        dead = {name: cluster.kill(name) for name in ("gateway-1", "dispatcher-2", "redis")}
        for name, pid in dead.items():
            await cluster.back(name, after=pid, within_s=BACK_S)
        says_what_runs(cluster)
        same_but_for(dead, before, cluster)
        async with phones(cluster) as shown:
            await push_to_all(cluster, shown, "second")
        assert (await page(cluster)).status_code == 200
        assert await cluster.stop() == 0
    assert cluster.state() == {"processes": [], "servers": []}
    assert not left_in(data)
    errors = [line for line in cluster.log_lines() if line.get("level") in ("error", "critical")]
    assert not errors


async def test_a_killed_starter_leaves_nobody_behind_and_a_wrong_setting_starts_nobody(tmp_path: Path) -> None:
    for kind in KINDS:
        require_server(kind)
    data, config = tmp_path / "cluster", tmp_path / "mine.toml"
    config.write_text("[gateway]\nprot = 1\n")
    with pytest.raises(
        DidNotStart, match=r"mine\.toml: \[gateway\] prot is not a setting; did you mean port\?"
    ) as refused:
        async with start_cluster(data, config=config):
            pass
    assert refused.value.status == 2
    starting = asyncio.create_task(start_cluster(data).__aenter__())
    await until(lambda: any(b"beam" in line for line in left_in(data)))
    starting.cancel()  # kills the starter
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: not left_in(data))


def says_what_runs(cluster: ClusterProcess) -> None:
    assert stat.S_IMODE((cluster.data / "cluster.json").stat().st_mode) == 0o600
    state = cluster.state()
    assert {entry["name"]: entry["role"] for entry in state["processes"]} == ALL
    assert {entry["name"]: entry["dsn"].partition("://")[0] for entry in state["servers"]} == {
        "redis": "redis",
        "mariadb": "mysql",
        "rabbitmq": "amqp",
    }
    for entry in (*state["processes"], *state["servers"]):
        assert Path(f"/proc/{entry['pid']}").exists(), entry["name"]
    for entry in state["processes"]:
        assert entry["ports"], entry["name"]


def same_but_for(dead: dict[str, int], before: dict[str, list[dict[str, object]]], cluster: ClusterProcess) -> None:
    """Who was killed has a new process id and the same ports and DSN; nobody else was touched."""
    for entry in (*before["processes"], *before["servers"]):
        now = cluster.running(str(entry["name"]))
        assert (now["pid"] == entry["pid"]) is (entry["name"] not in dead)
        assert {**now, "pid": 0} == {**entry, "pid": 0}


@asynccontextmanager
async def phones(cluster: ClusterProcess) -> AsyncIterator[dict[str, set[int]]]:
    """Two phones at each gateway; what each has shown."""
    shown: dict[str, set[int]] = {}
    fleet = Fleet(cluster.gateways[0], on_push=lambda device, push, is_new: note(shown, device, push.id))
    try:
        for number in range(4):
            name = f"phone-{number}"
            shown[name] = set()
            token = mint(cluster.app, name, cluster.device_secret, now_s=wall_ms() // 1_000, ttl_s=600)
            device = Device(fleet, cluster.app, name, token)
            await device.connect(at=cluster.gateways[number % 2])
        yield shown
    finally:
        await fleet.close()


def note(shown: dict[str, set[int]], device: Device, message_id: int) -> None:
    shown[device.name].add(message_id)


async def push_to_all(cluster: ClusterProcess, shown: dict[str, set[int]], title: str) -> None:
    """Each phone gets its push, and its ack reaches the store."""
    async with api(cluster) as http:
        for name in shown:
            answer = await http.post("/v1/messages", json={"target": {"device": name}, "title": title})
            assert answer.status_code == 202, answer.text
            message_id = answer.json()["id"]
            async with asyncio.timeout(BACK_S):
                while (await http.get(f"/v1/messages/{message_id}")).json()["state"] != "delivered":
                    await asyncio.sleep(0.05)
            assert int(message_id) in shown[name]


async def refuses_a_second_one(cluster: ClusterProcess) -> None:
    with pytest.raises(DidNotStart, match=rf"in use by another .* \(process {cluster.pid}\)") as refused:
        async with start_cluster(cluster.data):
            pass
    assert refused.value.status == 2


async def page(cluster: ClusterProcess) -> httpx.Response:
    """The demo page's own way to the API."""
    token = re.search(r"token=([^&]+)", cluster.page)
    assert token is not None
    async with api(cluster) as http:
        assert (await http.get("/demo")).status_code == 200
        return await http.get("/demo/api/config", headers={"Authorization": f"Bearer {token[1]}"})


def api(cluster: ClusterProcess) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=cluster.api, headers={"Authorization": f"Bearer {cluster.key}"}, timeout=30)


async def until(condition: Callable[[], bool], within_s: float = BACK_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


def left_in(data: Path) -> list[bytes]:
    """The command lines of processes that work in the folder or were started with it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            where = str((entry / "cwd").readlink())
        except OSError:
            continue
        if str(data).encode() in command or Path(where).is_relative_to(data):
            found.append(command)
    return found
