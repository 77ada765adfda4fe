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
    assert (first["logger"], second["logger"]) == ("a", "library")


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


def test_error_lines_are_counted_by_their_module() -> None:
    logs.error_lines.take()
    logs.configure(as_json=True, stream=io.StringIO())
    structlog.get_logger("push_api.app").error("one")
    structlog.get_logger("push_api.app").exception("two", exc_info=ValueError("x"))
    structlog.get_logger("push_api.app").warning("not an error")
    structlog.get_logger().error("nobody's")
    logging.getLogger("asyncio").critical("a library's")
    assert logs.error_lines.take() == {"push_api.app": 2, "unnamed": 1, "asyncio": 1}
    assert logs.error_lines.take() == {}


def test_the_count_of_error_lines_has_a_bound() -> None:
    logs.error_lines.take()
    logs.configure(as_json=True, stream=io.StringIO())
    for number in range(150):
        structlog.get_logger(f"made-up-{number}").error("x")
    counted = logs.error_lines.take()
    assert len(counted) == 101
    assert counted["other"] == 50
