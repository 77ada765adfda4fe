"""The running server against its own OpenAPI document: thousands of good and bad requests, no 5xx, no answer that isn't described."""

import asyncio
import sys
from pathlib import Path

import pytest

from push_api.app import PushApi

EXCEPTIONS = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.timeout(600)
async def test_the_server_does_what_its_document_says(api: PushApi, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    arguments = (
        f"--config-file={EXCEPTIONS}",
        "run",
        f"{api.url}/openapi.json",
        "--header=Authorization: Bearer demo.secret",
        "--max-examples=15",
        "--generation-deterministic",
        "--no-color",
    )
    command = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'schemathesis'; schemathesis()"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        command,
        *arguments,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, output.decode()
