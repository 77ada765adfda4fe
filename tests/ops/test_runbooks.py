"""What a runbook tells somebody to type, look at and search for exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from ops.admin.inside import STACKS_SIGNAL
from ops.docs import FOLDER
from ops.settings import SECTIONS
from push_core.metrics.catalogue import Metric
from tests.ops.test_docs import FENCE, check_taco

ROOT = FOLDER.parent
SOP = ROOT / "ops" / "sop"
PAGES = sorted(SOP.glob("*.md"))
BOOKS = [page for page in PAGES if page.name != "README.md"]
PARTS = ("## Symptom", "## Look", "## Act", "## Verify", "## Undo")
OTHERS = {
    *("awk", "chronyc", "curl", "date", "df", "du", "export", "grep", "iostat", "journalctl", "kill", "ls", "mariadb"),
    *("ps", "rabbitmqctl", "redis-cli", "sed", "sort", "ss", "systemctl", "tail", "top", "uniq", "uptime", "vmstat"),
}
LONGEST = 70  # lines: longer is not read at night
CODE = re.compile(r"``([^`]+(?:`[^`]+)*)``|`([^`\n]+)`")
SETTING = re.compile(r"\[(\w+)\] (\w+)")
METRIC = re.compile(r"[a-z_]+(\.[a-z_]+)+")
FILE = re.compile(r"\.(md|py|toml|json|key|log|yml)$")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
each_book = pytest.mark.parametrize("page", BOOKS, ids=lambda page: page.name)


def strings() -> Iterator[str]:
    """Every string of the code, those of f-strings in parts."""
    for package in ("push_core", "push_gateway", "push_api", "dispatcher", "ops"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


STRINGS = frozenset(strings())


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def codes(page: Path) -> list[str]:
    """What is between backticks outside of fences; with two of them it has backticks in it."""
    return [(double or single).strip() for double, single in CODE.findall(prose(page))]


def commands(page: Path) -> Iterator[list[str]]:
    """The fences line by line, and what is between backticks and begins as a command does."""
    lines = [line for match in FENCE.finditer(page.read_text()) for line in match[2].splitlines()]
    lines += [code for code in codes(page) if code.split(" ")[0] in OTHERS | {"taco"} and " " in code]
    for line in lines:
        for command in re.split(r" && | \| ", line):
            if words := shlex.split(command, comments=True):
                yield words


@each_page
def test_every_command_exists_with_its_options(page: Path) -> None:
    for name, *arguments in commands(page):
        if name == "taco":
            check_taco(arguments)
        else:
            assert name in OTHERS, f"{name}: not a command of ours or of the machine's"


@each_page
def test_every_metric_is_in_the_catalogue(page: Path) -> None:
    known = {metric.value for metric in Metric}
    named = {code for code in codes(page) if METRIC.fullmatch(code) and not FILE.search(code)}
    assert named <= known, named - known


@each_page
def test_every_setting_exists(page: Path) -> None:
    for section, key in (match for code in codes(page) for match in SETTING.findall(code)):
        assert key in {field.name for field in fields(SECTIONS[section])}, f"[{section}] {key}"


@each_book
def test_every_log_line_is_written_by_the_code(page: Path) -> None:
    """A log line is what is between backticks and reads as a sentence: words, and neither a command nor a setting."""
    lines = [
        code
        for code in codes(page)
        if re.match(r"[a-z]+( |$)", code)
        and code.split(" ")[0] not in OTHERS | {"taco"}
        and "." not in code.split(" ")[0]
    ]
    allowed = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", page.read_text()))
    unknown = [line for line in lines if line not in STRINGS and line not in allowed]
    assert not unknown


@each_book
def test_a_page_has_all_its_parts_in_order_and_is_short(page: Path) -> None:
    text = page.read_text()
    places = [text.index(part) for part in PARTS]
    assert places == sorted(places)
    assert len(text.splitlines()) <= LONGEST


@each_book
def test_a_page_shows_something_to_type(page: Path) -> None:
    assert "```sh operator" in page.read_text()


def test_the_index_names_every_page() -> None:
    index = (SOP / "README.md").read_text()
    assert not [page.name for page in BOOKS if f"({page.name})" not in index]


def test_the_signal_is_the_one_that_commands_and_people_send() -> None:
    assert STACKS_SIGNAL.name == "SIGUSR1"
    assert "kill -USR1" in (ROOT / "ops" / "commands" / "debug.py").read_text()
