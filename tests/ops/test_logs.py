"""Log lines are for people or for machines, and never for finding secrets."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
import structlog

from ops import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_for_machines_each_line_is_one_object() -> None:
    out = io.StringIO()
    logs.configure(as_json=True, stream=out)
    structlog.get_logger("a").info("started", port=1)
    logging.getLogger("library").warning("odd: %s", 2)
    first, second = lines_of(out)
    assert (first["event"], first["level"], first["port"]) == ("started", "info", 1)
    assert (second["event"], second["level"]) == ("odd: 2", "warning")


def test_for_people_a_line_has_no_braces() -> None:
    out = io.StringIO()
    logs.configure(as_json=False, stream=out)
    structlog.get_logger("a").info("started", port=1)
    assert "started" in out.getvalue()
    assert "port=1" in out.getvalue()
    assert "{" not in out.getvalue()


@pytest.mark.parametrize("as_json", [True, False])
def test_neither_secrets_nor_local_variables_are_written(as_json: bool) -> None:
    out = io.StringIO()
    logs.configure(as_json=as_json, stream=out)
    local_secret = "do-not-print"
    structlog.get_logger("a").info("x", token=local_secret, key=local_secret, device_secret=local_secret)
    try:
        raise RuntimeError("broken")
    except RuntimeError as error:
        structlog.get_logger("a").error("failed", exc_info=error)
    assert "broken" in out.getvalue()
    assert "do-not-print" not in out.getvalue()


def test_libraries_chatter_is_left_out() -> None:
    out = io.StringIO()
    logs.configure(as_json=True, stream=out)
    logging.getLogger("library").info("I did something")
    assert out.getvalue() == ""


def test_people_read_the_time_on_their_wall_and_machines_the_instant() -> None:
    for_people, for_machines = io.StringIO(), io.StringIO()
    logs.configure(as_json=False, stream=for_people)
    structlog.get_logger("a").info("started")
    logs.configure(as_json=True, stream=for_machines)
    structlog.get_logger("b").info("started")
    assert re.match(r"\d\d:\d\d:\d\d \[", for_people.getvalue())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(lines_of(for_machines)[0]["timestamp"]))
