"""`taco gateway` as a command, beside what `test_programs.py` and `test_workers.py` see of it."""

from pathlib import Path

from tests.support.terminal import taco


async def test_options_of_a_gateway_that_is_to_run_are_not_passed_over_before_a_command(tmp_path: Path) -> None:
    done = await taco("gateway", "--data", "elsewhere", "drain", cwd=tmp_path)
    assert done.status == 2
    assert "--data stands behind the command: taco gateway drain --data" in done.err
