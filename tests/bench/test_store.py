"""The store's benchmark runs, and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_last_line_is_one_json_object_with_method_and_machine(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.store",
        "--total",
        "64",
        "--batches",
        "4",
        "--folder",
        str(tmp_path),
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"bench", "method", "machine", "results"} <= result.keys()
    operations = {line["operation"] for line in result["results"]}
    assert {"commit", "apply delivered", "inbox put", "inbox read, a device"} <= operations
    assert all(line["cpu_us"] > 0 and line["messages"] > 0 for line in result["results"])
