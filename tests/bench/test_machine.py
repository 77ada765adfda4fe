"""Figures stand beside the machine and the method that they were taken with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.machine import (
    CpuMeter,
    cpu_seconds,
    fdatasync_us,
    header,
    percentile,
    print_header,
    print_json,
    resident_kib,
)


def test_the_header_names_machine_python_and_method() -> None:
    made = header("sessions", "idle, one process", {"devices": 5})
    text = "\n".join(made.lines())
    assert "idle, one process" in text
    assert "devices=5" in text
    assert made.python in text
    assert made.cores >= 1
    assert made.reference_us > 0
    json.dumps(made.to_dict())


def test_for_machines_the_header_goes_to_stderr_and_the_result_is_the_last_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_header("x", "y", as_json=True)
    print_json({"p99_ms": 1.5})
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == {"p99_ms": 1.5}
    assert err.startswith("# x")


def test_the_meter_counts_only_the_processes_it_was_given() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        meter = CpuMeter({"me": [os.getpid()], "idle": [idle.pid]})
        before = cpu_seconds(idle.pid)
        meter.start()
        while cpu_seconds() - meter._before["me"] < 0.05:
            pass
        meter.stop()
        assert meter.spent_s["me"] >= 0.05
        assert meter.spent_s["idle"] == pytest.approx(cpu_seconds(idle.pid) - before, abs=0.2)
        assert meter.us_per(10)["me"] >= 5_000
        assert resident_kib(idle.pid) > 100
        idle.communicate(b"\n")


def test_a_process_that_is_gone_is_an_error_not_a_zero() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(ProcessLookupError):
        cpu_seconds(gone.pid)
    with pytest.raises(ProcessLookupError):
        resident_kib(gone.pid)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([1.0], 99, 1.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 99, 4.0),
        (range(1, 101), 99, 99),
        ([], 50, None),
    ],
)
def test_percentiles_are_values_that_occurred(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected


def test_what_a_durable_write_costs_is_measured_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert fdatasync_us(tmp_path, times=5) > 0
    assert not list(tmp_path.iterdir())
