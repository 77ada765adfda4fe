"""The command as such: quick to answer, helpful, and plain about what is wrong. What it does to a server is in tests/e2e/test_commands.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.terminal import taco

GROUPS = {
    "up",
    "cluster",
    "push",
    "message",
    "listen",
    "device",
    "app",
    "db",
    "token",
    "version",
    "zones",
    "debug",
    "status",
}


async def test_help_names_every_command() -> None:
    done = await taco("--help")
    assert done.status == 0
    assert set(done.out.replace("│", " ").split()) >= GROUPS


@pytest.mark.parametrize("group", sorted(GROUPS))
async def test_each_command_explains_itself(group: str) -> None:
    done = await taco(group, "-h")
    assert done.status == 0, done.err
    assert "Usage: " in done.out


def test_help_loads_no_driver_and_no_server() -> None:
    """So that it answers at once: what is slow to import is imported when a command runs."""
    script = "import sys, ops.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {
        "httpx",
        "sqlalchemy",
        "grpc",
        "starlette",
        "uvicorn",
        "websockets",
        "google",
        "jwt",
        "uvloop",
        "msgspec",
    }


async def test_an_unknown_option_is_bad_usage() -> None:
    done = await taco("push", "--nonsense")
    assert done.status == 2
    assert "--nonsense" in done.err
    assert "Traceback" not in done.err


async def test_version_for_people_and_machines() -> None:
    assert (await taco("version")).out.startswith("taco 0.")
    assert (await taco("version", "--json")).json()["protocol"] == 1


async def test_without_a_server_a_command_says_how_to_get_one(tmp_path: Path) -> None:
    done = await taco("message", "1", cwd=tmp_path)
    assert done.status == 2
    assert (
        done.err
        == "taco: no data/demo.json here: start `taco up`, or give --api and --key (or TACO_API and TACO_KEY)\n"
    )


async def test_apps_are_kept_in_the_folder_without_any_server(tmp_path: Path) -> None:
    at = ("--data", str(tmp_path), "--json")
    made = await taco("app", "create", "shop", *at)
    assert made.status == 0, made.err
    key = made.json()["key"]
    assert key.startswith("shop.")
    rotated = (await taco("app", "rotate", "shop", *at)).json()
    assert rotated["key"] != key
    shown = (await taco("app", "show", "shop", *at)).json()
    assert (shown["keys"], shown["device_secrets"], shown["disabled"]) == (2, 2, False)
    assert (await taco("app", "disable", "shop", *at)).json()["disabled"] is True
    assert (await taco("app", "enable", "shop", *at)).json()["disabled"] is False
    listed = await taco("app", "list", *at)
    assert key not in listed.out
    assert [app["app"] for app in json.loads(listed.out)["apps"]] == ["shop"]


async def test_the_store_can_be_named_by_its_dsn(tmp_path: Path) -> None:
    dsn = f"sqlite:///{tmp_path}/elsewhere.sqlite"
    assert (await taco("app", "create", "shop", "--devices", dsn)).status == 0
    assert (await taco("app", "list", "--json", "--devices", dsn)).json()["apps"][0]["app"] == "shop"
    refused = await taco("app", "list", "--devices", "rabbit://x")
    assert refused.status == 2
    assert "sqlite" in refused.err


async def test_a_token_can_be_made_from_a_secret(tmp_path: Path) -> None:
    done = await taco("token", "d-1", "--app", "shop", "--secret", "s" * 43, "--json", cwd=tmp_path)
    assert done.json()["token"].count(".") == 2
    assert (await taco("token", "d-1", "--app", "shop", cwd=tmp_path)).status == 2
    assert (
        await taco("token", "d-1", "--app", "shop", "--secret", "s" * 43, "--ttl", "9999999", cwd=tmp_path)
    ).status == 2
