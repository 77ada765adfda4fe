"""`make conformance`: Autobahn's cases against the gateway's WebSocket layer, and `docs/conformance.md` from what it found.

python -m tests.autobahn [--cases '9.*'] [--page FILE]
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import uvloop

from ops import __version__
from sdk_proto.wire.subprotocols import JSON
from tests.autobahn.echo import open_echo
from tests.autobahn.suite import VERSION, CannotInstall, find_python, install
from tests.autobahn.summary import Case, Run, failed, page, unexplained

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".autobahn"
PAGE = ROOT / "docs" / "conformance.md"
AGENT = "taco"
COMPRESSION = ["12.*", "13.*"]


async def run(program: Path, cases: list[str]) -> list[Case]:
    """Run cases by pattern. Their reports are left in the cache."""
    reports = CACHE / "reports"
    async with open_echo() as url:
        spec = {
            "outdir": str(reports),
            "servers": [{"agent": AGENT, "url": url, "protocols": [JSON.subprotocol]}],
            "cases": cases,
            "exclude-cases": COMPRESSION,
            "exclude-agent-cases": {},
        }
        (CACHE / "spec.json").write_text(json.dumps(spec))
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        env.pop("PYTHONPATH", None)
        client = await asyncio.create_subprocess_exec(
            *(program, "-m", "fuzzingclient", "-s", CACHE / "spec.json"),
            cwd=CACHE,
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await client.communicate()
        if client.returncode:
            raise SystemExit(f"conformance: the suite's client failed:\n{said.decode(errors='replace')[-2_000:]}")
    found = json.loads((reports / "index.json").read_text())[AGENT]
    return [
        Case(
            name,
            case["behavior"],
            case["behaviorClose"],
            json.loads((reports / case["reportfile"]).read_text())["description"],
        )
        for name, case in sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make conformance", description="Autobahn's cases against the gateway.")
    parser.add_argument(
        "--cases", nargs="+", default=["*"], help="patterns, as '6.4.*'; the page is written of all only"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="where the summary goes")
    options = parser.parse_args()
    python = find_python()
    if python is None:
        print("conformance: skipped, no CPython 2.7 with pip found (PYTHON2=… names one)")
        return 0
    CACHE.mkdir(exist_ok=True)
    try:
        program = install(python, CACHE)
    except CannotInstall as error:
        print(f"conformance: the suite could not be installed:\n{error}", file=sys.stderr)
        return 1
    cases = uvloop.run(run(program, options.cases))
    if options.cases == ["*"]:
        date = datetime.now(UTC).date().isoformat()
        ran = Run(date, __version__, VERSION, platform.python_version(), version("uvloop"))
        options.page.write_text(page(ran, cases))
    for case in failed(cases):
        print(f"{case.id}: {case.verdict}: {case.description}")
    unclear = unexplained(cases)
    if unclear:
        print(f"not OK and not explained in tests/autobahn/summary.py: {', '.join(case.id for case in unclear)}")
    print(f"{len(cases)} cases, {len(failed(cases))} failed; reports in {CACHE.name}/reports")
    return 1 if failed(cases) or unclear or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
