"""What a process costs, as the kernel says."""

import tempfile
from pathlib import Path

from ops.admin.samples import cpu_ms, free_bytes, memory, open_files


def test_memory_files_and_cpu_are_measured() -> None:
    rss, peak = memory()
    assert 1_000_000 < rss <= peak
    before = open_files()
    with tempfile.TemporaryFile(), tempfile.TemporaryFile():
        assert open_files() == before + 2
    assert cpu_ms() > 0


def test_room_on_a_disk_is_asked_of_a_folder(tmp_path: Path) -> None:
    assert (free_bytes(tmp_path) or 0) > 0
    assert (free_bytes(tmp_path / "not" / "there") or 0) > 0
    (tmp_path / "file").touch()
    assert free_bytes(tmp_path / "file" / "in a file") is None
