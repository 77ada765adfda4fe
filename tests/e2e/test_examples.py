"""The curl lines of docs/api.md, pasted into a shell one after the other."""

import asyncio
import json
import re
from typing import Any

import pytest

from ops.docs import FOLDER
from tests.e2e.conftest import Start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

SERVER = "http://127.0.0.1:8080"


async def shell(line: str, **variables: str) -> tuple[int, Any]:
    """Status and body of the answer."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"{line} -s -w '\n%{{http_code}}'", stdout=asyncio.subprocess.PIPE, env=variables
    )
    out, _ = await process.communicate()
    body, _, status = out.decode().rpartition("\n")
    return int(status), json.loads(body)


async def test_each_line_is_answered_as_the_page_says(start: Start) -> None:
    taco = await start()
    blocks = re.findall(r"^```sh\n(.*?)^```$", (FOLDER / "api.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.replace(SERVER, taco.api) for block in blocks for line in block.splitlines()]
    answers: list[tuple[int, Any]] = []
    for line in lines:
        message_id = answers[0][1]["id"] if answers else ""
        answers.append(await shell(line, KEY=taco.key, ID=message_id))
    assert [status for status, _ in answers] == [202, 202, 200, 200, 200, 202, 200, 200, 200, 202]
    sent, batch, seen, recalled, device, _, presence, disconnected, subscribed, live = (body for _, body in answers)
    assert seen["id"] == sent["id"]
    accepted, refused = batch["results"]
    assert accepted["id"]
    assert refused["error"]["code"] == "unknown_field"
    assert recalled["state"] == "recalled"
    assert device["alias"] == "user-7"
    assert presence["online"] is False
    assert disconnected == {"disconnected": False}
    assert subscribed["topics"] == ["city-021"]
    assert live["state"] == "accepted"
