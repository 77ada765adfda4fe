"""Documents say what the code does: those made from it are up to date, and what the others show can be typed."""

import json
import re
import shlex
import time
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import typer.main

from dispatcher.fallback.webhook import WebhookBody, signature
from ops.cli import cli
from ops.commands.up import curl_line
from ops.docs import FOLDER, comments_of, render, table
from ops.settings import SECTIONS
from push_api.decoding import decode, decode_message
from push_api.models import Registration
from push_api.operations import match
from push_api.validation import check_registration, draft_of
from push_core.lifecycle import Reason
from push_core.settings import check_sections, load

ROOT = FOLDER.parent
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "bench" / "README.md",
        *FOLDER.rglob("*.md"),
        *(ROOT / "ops").rglob("*.md"),
    ]
)
FENCE = re.compile(r"^```([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", sorted(render()))
def test_documents_made_from_the_code_are_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == render()[name], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken


def fences(language: str) -> list[Any]:
    """The blocks of a language, as parameters named after their page."""
    return [
        pytest.param(match[2], id=f"{page.relative_to(ROOT)}#{number}")
        for page in PAGES
        for number, match in enumerate(FENCE.finditer(page.read_text()))
        if match[1] == language
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fence_has_a_language_that_is_checked(page: Path) -> None:
    """Pictures have none."""
    checked = {
        "",
        "sh",
        "sh operator",
        "python",
        "toml",
        "json",
        "json message",
        "json device",
        "json webhook",
        "mermaid",
    }
    assert {match[1] for match in FENCE.finditer(page.read_text())} <= checked


@pytest.mark.parametrize("code", fences("python"))
def test_python_examples_run(code: str) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("text", fences("toml"))
def test_configuration_examples_are_accepted(text: str) -> None:
    tables = tomllib.loads(text)
    check_sections(tables, SECTIONS, "example")
    for section in tables:
        load(SECTIONS[section], section, tables=tables)


@pytest.mark.parametrize("text", fences("json"))
def test_json_examples_are_json(text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize("text", fences("sh"))
def test_commands_shown_exist(text: str) -> None:
    for line in text.splitlines():
        for command in re.split(r" && | \| ", line):
            words = shlex.split(command, comments=True)
            if words:
                check_command(words)


def check_command(words: list[str]) -> None:
    name, *arguments = words
    if name.endswith("taco"):
        check_taco(arguments)
    elif name == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in arguments if "=" not in word} <= targets
    elif name == "curl":
        check_curl(arguments)
    elif name.endswith("python"):
        assert arguments[0] == "-m"
        assert (ROOT / (arguments[1].replace(".", "/") + ".py")).exists()
    else:
        assert name in ("git", "cd"), f"{name}: not known to this test"


def check_taco(arguments: list[str]) -> None:
    """The command exists, and so do its options."""
    command = typer.main.get_command(cli)
    while arguments and hasattr(command, "commands") and arguments[0] in command.commands:
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if getattr(command, "commands", None):  # a group: one that is a command too is followed by options
        assert getattr(command, "invoke_without_command", False), f"{arguments}: no such command"
        assert not arguments or arguments[0].startswith("-"), f"{arguments}: no such command"
    options = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    assert {word for word in arguments if word.startswith("-")} <= options


def check_curl(arguments: list[str]) -> None:
    """A request that the API has, with a key, and with a body if it takes one. What is answered: tests/e2e/test_examples.py."""
    url = next(word for word in arguments if word.startswith("http"))
    given = dict(pairwise(arguments))
    found = match(given.get("-X", "POST" if "-d" in given else "GET"), urlsplit(url).path.encode())
    assert found, f"{url}: not a path of the API"
    operation, _ = found
    assert any(word.startswith("Authorization: Bearer ") for word in arguments)
    assert ("-d" in given) == (operation.request is not None)


def test_the_readme_shows_the_line_that_taco_up_prints() -> None:
    assert curl_line("http://127.0.0.1:8080", "demo.<secret>", "web-1") in (ROOT / "README.md").read_text()


def test_decisions_are_listed_and_numbered_without_gaps() -> None:
    folder = FOLDER / "decisions"
    names = sorted(path.name for path in folder.glob("0*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    listed = re.findall(r"\((0[^)]+\.md)\)", (folder / "README.md").read_text())
    assert sorted(listed) == names
    for name in names:
        assert (folder / name).read_text().startswith(f"# {name[:4]}: ")


def test_files_named_in_the_architecture_exist() -> None:
    text = (FOLDER / "architecture.md").read_text()
    named = set(re.findall(r"`((?:push_|sdk_|dispatcher|ops|bench|tests|docs)[\w/.]*/[\w.*/]+)`", text))
    assert named
    assert not [name for name in named if not list(ROOT.glob(name))]


def test_a_reason_without_a_comment_is_an_error() -> None:
    assert set(comments_of(Reason)) == set(Reason.__members__)


def test_bars_in_cells_do_not_break_a_table() -> None:
    assert table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |\n"


@pytest.mark.parametrize("block", fences("json message"))
def test_messages_shown_are_accepted(block: str) -> None:
    draft_of(decode_message(block.encode()))


@pytest.mark.parametrize("block", fences("json device"))
def test_registrations_shown_are_accepted(block: str) -> None:
    check_registration(decode(block.encode(), Registration))


@pytest.mark.parametrize("block", fences("json webhook"))
def test_what_an_endpoint_gets_is_shown_whole(block: str) -> None:
    shown = json.loads(block)
    assert set(shown) == {field.name for field in msgspec.structs.fields(WebhookBody)}
    msgspec.json.decode(block, type=WebhookBody)


def test_the_program_that_checks_a_webhook_believes_taco_and_nobody_else() -> None:
    code = next(match[2] for match in FENCE.finditer((FOLDER / "vendors.md").read_text()) if match[1] == "python")
    space: dict[str, Any] = {}
    exec(compile(code, "vendors.md", "exec"), space)
    is_from_taco, now = space["is_from_taco"], int(time.time())
    header = signature("secret", b"{}", now)
    assert is_from_taco("secret", header, b"{}")
    assert not is_from_taco("other", header, b"{}")
    assert not is_from_taco("secret", header, b"{ }")
    assert not is_from_taco("secret", signature("secret", b"{}", now - 3_600), b"{}")
