"""`taco up`: the life of the process, from the first start over the second one to its end."""

import asyncio
import json
import signal
import socket
import stat
import time
from pathlib import Path

import httpx
import pytest

from bench.taco_process import DidNotStart, TacoProcess, command
from sdk_proto.python.wire_client import Fleet
from tests.e2e.conftest import Start
from tests.support.terminal import taco as run_taco

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

STOP_S = 5.0


async def get(taco: TacoProcess, path: str, key: str | None = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=taco.api) as http:
        return await http.get(path, headers={"Authorization": f"Bearer {key or taco.key}"})


async def test_a_first_start_says_where_everything_is_and_writes_it_down(start: Start) -> None:
    taco = await start()
    written = json.loads((taco.data / "demo.json").read_text())
    assert {name: written[name] for name in ("api", "gateway", "app", "key", "device_secret", "page")} == {
        "api": taco.api,
        "gateway": taco.gateway,
        "app": "demo",
        "key": taco.key,
        "device_secret": taco.device_secret,
        "page": taco.page,
    }
    assert taco.gateway.endswith("/v1/connect")
    assert taco.key.startswith("demo.")
    for name in ("demo.json", "cluster.key"):
        assert stat.S_IMODE((taco.data / name).stat().st_mode) == 0o600, name
    assert (await get(taco, "/readyz")).status_code == 200
    assert (await get(taco, "/openapi.json")).json()["openapi"].startswith("3.1")


async def test_secrets_are_random_and_neither_logged_nor_kept_readable(start: Start) -> None:
    one, two = await start(), await start(folder="other")
    assert one.key != two.key
    assert one.device_secret != two.device_secret
    await one.stop()
    secret = one.key.partition(".")[2].encode()
    readable = [path.name for path in one.data.iterdir() if secret in path.read_bytes()]
    assert readable == ["demo.json"]
    log = one.log.read_bytes()
    assert secret not in log
    assert one.device_secret.encode() not in log
    assert one.page.partition("token=")[2].encode() not in log


async def test_a_second_start_reuses_the_secrets_and_finds_the_messages(start: Start) -> None:
    first = await start()
    pushed = await run_taco("push", "nobody", "--title", "kept", "--json", "--data", str(first.data))
    assert pushed.status == 0, pushed.err
    assert await first.stop() == 0
    second = await start()
    assert (second.key, second.device_secret) == (first.key, first.device_secret)
    assert second.page.partition("#")[2] == first.page.partition("#")[2]
    view = await get(second, f"/v1/messages/{pushed.json()['id']}")
    assert view.status_code == 200


async def test_a_lost_demo_file_gets_a_new_key_and_the_old_one_stays_valid(start: Start) -> None:
    first = await start()
    await first.stop()
    (first.data / "demo.json").unlink()
    second = await start()
    assert second.key != first.key
    for key in (first.key, second.key):
        assert (await get(second, "/v1/devices/d/presence", key)).status_code == 200


async def test_a_folder_is_used_by_one_process_at_a_time(start: Start) -> None:
    taco = await start()
    with pytest.raises(DidNotStart) as refused:
        await start()
    assert refused.value.status == 2
    assert f"in use by another `taco up` or `taco cluster` (process {taco.pid})" in refused.value.stderr
    assert len(refused.value.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_it_cleanly_while_devices_are_connected(start: Start, number: signal.Signals) -> None:
    taco = await start()
    token = (await run_taco("token", "d-1", "--data", str(taco.data))).out.strip()
    fleet = Fleet(taco.gateway)
    device = await fleet.connect("demo", "d-1", token)
    begin = time.monotonic()
    taco.process.send_signal(number)
    code, _ = await device.ended()
    assert code == 4000
    assert await taco.process.wait() == 0
    assert time.monotonic() - begin < STOP_S  # the promise itself, not a measure of speed
    await fleet.close()
    assert not [line for line in taco.log_lines() if line.get("level") in ("error", "critical")]


@pytest.mark.parametrize(
    ("option", "section"),
    [("--api-port", "api"), ("--gateway-port", "gateway"), ("--grpc-port", "grpc")],
    ids=lambda value: value,
)
async def test_a_port_that_is_taken_is_one_sentence(start: Start, option: str, section: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DidNotStart) as refused:
            await start(option, str(port))
    assert refused.value.status == 2
    assert str(port) in refused.value.stderr
    assert "Traceback" not in refused.value.stderr
    assert len(said(refused.value.stderr)) == 1


async def test_an_unwritable_folder_is_one_sentence(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DidNotStart, match="cannot be used as the data folder") as refused:
        await start(folder="file")
    assert refused.value.status == 2
    assert len(said(refused.value.stderr)) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[gateway]\nprot = 1\n", r"taco\.toml: \[gateway\] prot is not a setting; did you mean port\?"),
        ("[gatewy]\n", r"taco\.toml: \[gatewy\] is not a section; did you mean gateway\?"),
        ("[api]\nport = 'x'\n", r"taco\.toml: \[api\] port must be a whole number"),
        ("[api\n", r"taco\.toml: not TOML"),
        ("[stores]\nqueues = 'rabbit://x'\n", "rabbit"),
        (None, r"taco\.toml: cannot be read"),
    ],
)
async def test_a_bad_config_file_names_file_key_and_reason(
    start: Start, tmp_path: Path, text: str | None, reason: str
) -> None:
    if text is not None:
        (tmp_path / "taco.toml").write_text(text)
    with pytest.raises(DidNotStart, match=reason) as refused:
        await start("--config", str(tmp_path / "taco.toml"))
    assert refused.value.status == 2
    assert len(said(refused.value.stderr)) == 1


async def test_a_variable_that_nothing_reads_is_refused(start: Start) -> None:
    with pytest.raises(DidNotStart, match="TACO_GATEWAY_PROT is not a setting") as refused:
        await start(TACO_GATEWAY_PROT="1")
    assert refused.value.status == 2


async def test_for_people_it_prints_a_curl_line_that_works(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_human_command(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        text = ""
        while " listen phone-1" not in text:
            line = await process.stdout.readline()
            assert line, text
            text += line.decode()
        curl = next(line.strip() for line in text.splitlines() if line.strip().startswith("curl "))
        sent = await asyncio.create_subprocess_exec("bash", "-c", f"{curl} -s", stdout=asyncio.subprocess.PIPE)
        answer, _ = await sent.communicate()
        assert json.loads(answer)["state"] == "accepted", answer
        assert f"page      {json.loads((tmp_path / 'data' / 'demo.json').read_text())['page']}" in text
    finally:
        process.terminate()
        assert await process.wait() == 0


async def test_what_it_keeps_is_for_its_user_alone(start: Start) -> None:
    """The stores hold device secrets, and what is in messages."""
    taco = await start()
    assert {path.name: path.stat().st_mode & 0o077 for path in (taco.data, *taco.data.iterdir())} == dict.fromkeys(
        ("data", *(path.name for path in taco.data.iterdir())), 0
    )


def _human_command(tmp_path: Path) -> list[str]:
    ports = [part for name in ("api", "gateway", "grpc") for part in (f"--{name}-port", "0")]
    return [*command("up", "--data", str(tmp_path / "data"), *ports)]


def said(stderr: str) -> list[str]:
    """The sentences for the user; lines of the log are something else."""
    return [line for line in stderr.splitlines() if line.strip() and not line.startswith("{")]
