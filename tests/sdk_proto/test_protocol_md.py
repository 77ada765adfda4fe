"""What PROTOCOL.md shows is true: its messages are read, its bytes are ours, its programs run."""

import asyncio
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import jwt
import pytest

import sdk_proto
from sdk_proto.python import acks, seen
from sdk_proto.python.client import STABLE_S
from sdk_proto.python.session import Limits
from sdk_proto.wire import frames as f
from sdk_proto.wire import rules
from sdk_proto.wire.close import CloseCode, order_of
from sdk_proto.wire.subprotocols import JSON, PROTO, SUBPROTOCOLS
from tests.sdk_proto.python.fake_gateway import fake_gateway

TEXT = (Path(sdk_proto.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
BLOCKS = [
    (kind, about, body)
    for kind, about, body in re.findall(r"^```(\w+) ([\w-]+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
]
MESSAGES = [(about, body.strip()) for kind, about, body in BLOCKS if kind == "json"]
PAIRS = [
    (direction, text.strip(), bytes.fromhex(binary))
    for (kind, direction, text), (next_kind, _, binary) in pairwise(BLOCKS)
    if (kind, next_kind) == ("json", "hex")
]


def program(about: str) -> str:
    (text,) = [body for kind, what, body in BLOCKS if (kind, what) == ("python", about)]
    return str(text)


def read(direction: str, text: str) -> list[Any]:
    return list(JSON.decode_client(text.encode()) if direction == "client" else JSON.decode_server(text.encode()))


@pytest.mark.parametrize(("direction", "text"), MESSAGES)
def test_every_message_on_the_page_is_read(direction: str, text: str) -> None:
    assert not [frame for frame in read(direction, text) if isinstance(frame, f.Unknown | f.Undecodable)]


def test_the_page_shows_every_frame() -> None:
    shown = {type(frame) for direction, text in MESSAGES for frame in read(direction, text)}
    assert shown == {*f.ClientFrame.__args__, *f.ServerFrame.__args__} - {f.Unknown, f.Undecodable}


@pytest.mark.parametrize(("direction", "text", "binary"), PAIRS)
def test_the_worked_bytes_are_ours_in_both_codecs(direction: str, text: str, binary: bytes) -> None:
    frames = read(direction, text)
    assert PROTO.encode(frames) == binary
    assert JSON.encode(frames).decode() == text
    assert (PROTO.decode_client(binary) if direction == "client" else PROTO.decode_server(binary)) == frames


def test_the_worked_example_goes_from_hello_to_displayed() -> None:
    assert [type(read(direction, text)[0]) for direction, text, _ in PAIRS] == [
        f.Hello, f.Welcome, f.Push, f.Ack, f.Push, f.Ack,
    ]  # fmt: skip


def test_the_table_of_close_codes_lists_ours_under_their_orders() -> None:
    section = TEXT.split("## 6. Close codes")[1].split("## 7.")[0]
    rows = re.findall(r"^\| (\d{4})–(\d{4}) \| [^|]* \| (.*) \|$", section, re.MULTILINE)
    listed = {
        int(code): (int(low), int(high)) for low, high, codes in rows for code in re.findall(r"\b4\d{3}\b", codes)
    }
    assert set(listed) == set(CloseCode)
    for code, (low, high) in listed.items():
        assert low <= code <= high
        assert order_of(code) is order_of(low) is order_of(high)


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    for sentence in (
        f"| frames in one message | {f.MAX_CLIENT_FRAMES} |",
        f"| `ids` in one `ack` | 1 to {f.MAX_ACK_IDS} |",
        f"| `app`, `device`, `install` | 1 to {rules.MAX_NAME} characters",
        f"| `token` | {rules.MAX_TOKEN:,} characters |",
        f"each of up to {rules.MAX_FEATURES} `features` | {rules.MAX_LABEL} characters |",
        f"| `versions` | 1 to {rules.MAX_VERSIONS} |",
        f"| `path` of a call | {rules.MAX_PATH:,} characters |",
        f"| `topics` in one frame | 1 to {rules.MAX_TOPICS}, each of 1 to {rules.MAX_TOPIC} characters |",
        f"({f.MAX_FRAME:,} until a server says otherwise)",
        f"1 to {f.MAX_ID:,}.",
        f"at most {acks.BATCH_S * 1000:.0f} ms, {acks.BATCH_IDS} ids, or half of the window",
        f"(our SDKs: {acks.LIMIT:,}, the oldest goes)",
        f"The newest {seen.CAPACITY:,} at least",
        f"for {seen.LONGEST_TTL_MS // 86_400_000} days",
        f"within {Limits().pong_s:.0f} s of a ping",
        f"stayed welcomed for {STABLE_S:.0f} s",
    ):
        assert sentence in TEXT
    for name in SUBPROTOCOLS:
        assert f"| `{name}` |" in TEXT
    for word in (*f.ACK_STATUSES, *f.APP_STATES):
        assert f"`{word}`" in TEXT


def test_links_within_the_page_and_the_repository_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in TEXT.splitlines()
        if line[:1] == "#"
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings
        else:
            assert (Path(sdk_proto.__file__).parent / target).exists()


def test_the_token_program_makes_the_token_that_the_page_describes() -> None:
    space: dict[str, Any] = {}
    exec(compile(program("token"), "PROTOCOL.md", "exec"), space)
    secret = "a secret of thirty-two bytes or more"
    token = space["device_token"]("demo", "d-1", secret)
    claims = jwt.decode(token, secret.encode(), algorithms=["HS256"])
    assert (claims["iss"], claims["sub"]) == ("demo", "d-1")
    assert time.time() < claims["exp"] <= time.time() + 86_400


async def test_the_program_for_talking_by_hand_signs_in_and_acks(tmp_path: Path) -> None:
    script = tmp_path / "by_hand.py"
    script.write_text(program("by-hand"), encoding="utf-8")
    async with fake_gateway() as gateway:
        process = await asyncio.create_subprocess_exec(
            sys.executable, script, gateway.url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"hello":{"app":"demo","device":"d-1","token":"t","versions":[1]}}\n')
        session = await gateway.session()
        assert b'< {"welcome":' in await process.stdout.readline()
        await session.push(7, title="New order")
        assert b'"id":"7"' in await process.stdout.readline()
        process.stdin.write(b'{"ack":{"ids":["7"]}}\n')
        assert await session.acks.get() == (7, "received")
        process.stdin.write(b"\n")
        assert await process.wait() == 0


REFERENCE = re.compile(r"PROTOCOL\.md(?: §(\d+))?, \"([^\"]+)\"")


def test_what_the_code_refers_to_is_where_it_says() -> None:
    """A rule by its section and its first words: `PROTOCOL.md §5, "Ack"`."""
    sections = dict(re.findall(r"^## (\d+)\..*?\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    root = Path(sdk_proto.__file__).parent.parent
    found = [
        (str(path), number, rule)
        for path in (
            *root.glob("sdk_proto/**/*.py"),
            *root.glob("sdk_proto/**/*.js"),
            *root.glob("push_gateway/**/*.py"),
        )
        for number, rule in REFERENCE.findall(path.read_text(encoding="utf-8"))
    ]
    assert found
    lost = [entry for entry in found if f"**{entry[2]}" not in (sections[entry[1]] if entry[1] else "")]
    assert not lost
