"""The README's example runs, and its table of options is that of the code."""

import asyncio
import dataclasses
import os
import re
import sys
from pathlib import Path

import msgspec

import sdk_proto.python
from sdk_proto.python import Options, acks, delivery, seen, transport
from sdk_proto.wire import frames as f
from tests.sdk_proto.python.fake_gateway import fake_gateway

TEXT = (Path(sdk_proto.python.__file__).parent / "README.md").read_text(encoding="utf-8")
ROOT = Path(sdk_proto.python.__file__).parents[2]


async def test_the_example_shows_a_push_acks_it_and_ends_when_told(tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python example\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.py").write_text(program, encoding="utf-8")
    async with fake_gateway() as gateway:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "example.py",
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TACO_GATEWAY": gateway.url, "TACO_TOKEN": "token"},
            stdout=asyncio.subprocess.PIPE,
        )
        session = await gateway.session()
        await session.push(7, title="New order", data=msgspec.Raw(b'{"order":9}'))
        assert await session.acks.get() == (7, "received")
        await session.bye(4303, "app disabled")
        out, _ = await process.communicate()
        assert process.returncode == 0
        shown, stopped = out.decode().splitlines()
        assert shown == "7 New order {'order': 9}"
        assert "4303" in stopped
        assert (tmp_path / "device.sqlite").exists()


def test_every_option_is_explained() -> None:
    for field in dataclasses.fields(Options):
        assert f"`{field.name}`" in TEXT, field.name


def test_the_bounds_are_those_of_the_code() -> None:
    for sentence in (
        f"{delivery.QUEUE:,} pushes wait",
        f"{acks.LIMIT:,} acks",
        f"{transport.MAX_UNSENT:,} messages",
        f"{seen.CAPACITY:,} to {seen.CAPACITY + seen.SLACK:,}",
    ):
        assert sentence in TEXT


def test_data_is_parsed_on_demand() -> None:
    assert f.Push(id=1).data_object() == {}
    assert f.Push(id=1, data=msgspec.Raw(b'{"a":[1]}')).data_object() == {"a": [1]}
