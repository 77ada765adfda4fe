"""The `taco` command against a running server: what its user types, and what comes of it."""

import asyncio
import hashlib
import hmac
import json
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from bench.taco_process import command
from tests.e2e.conftest import Start
from tests.support.terminal import taco as run_taco
from tests.support.vendor_endpoint import VendorEndpoint

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def test_listen_prints_what_push_sends_and_message_says_so(start: Start) -> None:
    data = str((await start()).data)
    listener = await asyncio.create_subprocess_exec(
        *command("listen", "phone-1", "--count", "1", "--json", "--data", data), stdout=PIPE, stderr=PIPE
    )
    assert listener.stdout is not None
    while "online" not in (line := (await listener.stdout.readline()).decode()):
        assert line, "listen ended"
    pushed = await run_taco(
        "push", "phone-1", "--title", "Hi", "--payload", '{"a":[1]}', "--priority", "urgent", "--json", "--data", data
    )
    assert pushed.status == 0, pushed.err
    message_id = pushed.json()["id"]
    out, err = await listener.communicate()
    assert listener.returncode == 0, err
    push = next(value["push"] for value in map(json.loads, out.decode().splitlines()) if "push" in value)
    assert (push["id"], push["title"], push["data"], push["priority"]) == (message_id, "Hi", {"a": [1]}, "urgent")

    async with asyncio.timeout(30):
        while (view := (await run_taco("message", message_id, "--json", "--data", data)).json())[
            "state"
        ] != "delivered":
            pass
    assert view["counts"] == {"delivered": 1}
    shown = await run_taco("message", message_id, "--data", data)
    assert "phone-1" in shown.out
    assert "delivered" in shown.out


async def test_a_message_can_be_taken_back(start: Start) -> None:
    data = str((await start()).data)
    message_id = (await run_taco("push", "nobody", "-t", "x", "--json", "--data", data)).json()["id"]
    view = (await run_taco("message", message_id, "--recall", "--json", "--data", data)).json()
    assert view["state"] == "recalled"
    assert view["recalled_at"]


async def test_devices_are_put_shown_blocked_and_forgotten(start: Start) -> None:
    data = str((await start()).data)
    at = ("--data", data, "--json")
    record = (
        await run_taco("device", "put", "d-1", "--alias", "user-7", "--tag", "a", "--vendor-token", "stub=t", *at)
    ).json()
    assert record["alias"] == "user-7"
    assert (await run_taco("device", "get", "d-1", *at)).json()["tags"] == ["a"]
    assert (await run_taco("device", "presence", "d-1", *at)).json()["online"] is False
    pushed = await run_taco("push", "--alias", "user-7", "-t", "x", *at)
    assert pushed.status == 0, pushed.err
    assert (await run_taco("device", "block", "d-1", *at)).status == 0
    refused = await run_taco("listen", "d-1", "--count", "1", *at)
    assert refused.status == 1
    assert "4304" in refused.err
    assert (await run_taco("device", "unblock", "d-1", *at)).status == 0
    assert (await run_taco("device", "disconnect", "d-1", "--data", data)).out == "was not connected: d-1\n"
    assert (await run_taco("device", "disconnect", "d-1", *at)).json() == {"disconnected": False}
    assert (await run_taco("device", "forget", "d-1", "--data", data)).out == "forgotten: d-1\n"
    gone = await run_taco("device", "get", "d-1", *at)
    assert gone.status == 1
    assert "404 not_found" in gone.err


async def test_apps_are_made_and_disabled_beside_a_running_server(start: Start) -> None:
    taco = await start()
    at = ("--data", str(taco.data), "--json")
    made = (await run_taco("app", "create", "courier", *at)).json()
    pushed = await run_taco("push", "d", "-t", "x", "--api", taco.api, "--key", made["key"], "--json")
    assert pushed.status == 0, pushed.err
    assert [app["app"] for app in (await run_taco("app", "list", *at)).json()["apps"]] == ["courier", "demo"]
    again = await run_taco("app", "create", "courier", *at)
    assert again.status == 1
    assert "courier already" in again.err
    assert (await run_taco("app", "disable", "courier", *at)).json()["disabled"] is True
    async with asyncio.timeout(30):
        while (refused := await run_taco("push", "d", "-t", "x", "--api", taco.api, "--key", made["key"])).status == 0:
            await asyncio.sleep(0.2)
    assert "403 app_disabled" in refused.err


async def test_a_webhook_is_set_told_to_be_signed_and_called(start: Start) -> None:
    taco = await start(TACO_DISPATCHER_WEBHOOK_ALLOWED_NETWORKS="127.0.0.0/8")
    endpoint = await VendorEndpoint().start()
    at = ("--data", str(taco.data), "--json")
    url = f"http://127.0.0.1:{endpoint.port}/push"
    made = (await run_taco("app", "webhook", "demo", url, *at)).json()
    assert (made["url"], made["signed"]) == (url, True)
    assert (await run_taco("app", "webhook", "demo", *at)).json() == {"app": "demo", "url": url, "signed": True}
    assert (await run_taco("device", "put", "d-1", "--vendor-token", "webhook=t-1", *at)).status == 0
    pushed = await run_taco("push", "d-1", "-t", "x", *at)
    async with asyncio.timeout(30):
        while not endpoint.calls:
            await asyncio.sleep(0.05)
    await endpoint.stop()
    call = endpoint.calls[0]
    assert (call.json["id"], call.json["device"], call.json["token"]) == (pushed.json()["id"], "d-1", "t-1")
    at_s, _, digest = call.headers["taco-signature"].removeprefix("t=").partition(",v1=")
    signed = hmac.new(made["secret"].encode(), f"{at_s}.".encode() + call.body, hashlib.sha256)
    assert digest == signed.hexdigest()
    assert (await run_taco("app", "webhook", "demo", "--remove", *at)).json()["url"] is None
    for wrong in (("--new-secret",), ("nowhere",), ("--remove", "http://x")):
        assert (await run_taco("app", "webhook", "demo", *wrong, *at)).status == 2


async def test_an_app_has_its_rate_within_seconds(start: Start) -> None:
    taco = await start(TACO_API_APP_CACHE_S="0.1")
    at = ("--data", str(taco.data), "--json")
    assert (await run_taco("app", "limit", "demo", *at)).json() == {
        "app": "demo",
        "rate": None,
        "burst": None,
        "sessions": None,
    }
    limited = (await run_taco("app", "limit", "demo", "0.001", "--burst", "1", *at)).json()
    assert limited == {"app": "demo", "rate": 0.001, "burst": 1, "sessions": None}
    async with asyncio.timeout(30):
        while (pushed := await run_taco("push", "d-1", "-t", "x", *at)).status == 0:
            await asyncio.sleep(0.05)
    assert "429 rate_limited" in pushed.err
    assert "app demo may send 0.001 messages a second, 1 at once" in pushed.err
    assert (await run_taco("app", "limit", "demo", "--reset", *at)).json()["rate"] is None
    async with asyncio.timeout(30):
        while (await run_taco("push", "d-1", "-t", "x", *at)).status:
            await asyncio.sleep(0.05)
    for wrong in (("--burst", "5"), ("--reset", "1"), ("1", "--burst", "0"), ("nan",)):
        assert (await run_taco("app", "limit", "demo", *wrong, *at)).status == 2


async def test_trouble_is_one_sentence_and_a_status(start: Start, tmp_path: Path) -> None:
    taco = await start()
    cases = [
        (("push", "d", "-t", "x", "--data", str(tmp_path / "none")), 2, "start `taco up`"),
        (("push", "-t", "x", "--data", str(taco.data)), 2, "name devices, an --alias, a --topic, or --all"),
        (("push", "d", "--payload", "{", "--data", str(taco.data)), 2, "not JSON"),
        (("push", "d", "-t", "x", "--api", "http://127.0.0.1:9", "--key", "demo.x"), 1, "can't be reached"),
        (("push", "d", "-t", "x", "--api", taco.api, "--key", "demo.wrong"), 1, "401 unauthorized"),
        (("push", "d", "-t", "x", "--ttl", "-1", "--data", str(taco.data)), 1, "422"),
        (("message", "1", "--data", str(taco.data)), 1, "404 not_found"),
        (("app", "show", "none", "--data", str(taco.data)), 1, "no app none"),
        (("app", "create", "A.B", "--data", str(taco.data)), 2, "not a name for an app"),
    ]
    for arguments, status, words in cases:
        done = await run_taco(*arguments, cwd=tmp_path)
        assert (done.status, words in done.err) == (status, True), (arguments, done)
        assert done.err.startswith("taco: ")
        assert len(done.err.splitlines()) == 1, done.err
        assert not done.out
