"""demo.json is its owner's alone, and what it is not is said in a sentence."""

import json
import os
import stat
from pathlib import Path

import pytest

from ops import demo_file
from ops.demo_file import DemoFile
from push_core.errors import ConfigError

DEMO = DemoFile(
    "http://127.0.0.1:1", "ws://127.0.0.1:2/v1/connect", "demo", "demo.k", "s", "http://127.0.0.1:1/demo#token=t"
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    demo_file.write(tmp_path, DEMO)
    assert demo_file.read(tmp_path) == DEMO
    assert json.loads((tmp_path / "demo.json").read_text()) == DEMO.to_dict()


def test_only_its_owner_may_read_it_even_if_a_looser_one_was_there(tmp_path: Path) -> None:
    for name in ("demo.json", "demo.json.new"):
        (tmp_path / name).write_text("{}")
        (tmp_path / name).chmod(0o666)
    old = os.umask(0)
    try:
        demo_file.write(tmp_path, DEMO)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "demo.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["demo.json"]


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert demo_file.read(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"api":"x"}', '{"api":1,"gateway":"","app":"","key":"","device_secret":"","page":""}', "\xff"]
)
def test_a_file_of_another_form_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "demo.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"demo\.json"):
        demo_file.read(tmp_path)


def test_secrets_stay_out_of_the_repr() -> None:
    assert "demo.k" not in repr(DEMO)
    assert "token=t" not in repr(DEMO)
