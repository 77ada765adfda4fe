"""The house rules on who may know whom, held against the code: who imports whom, and where each library may be named (docs/architecture.md).

The tables below are the rule. A new import that breaks it is either in the wrong file or a decision to be written down beside the change.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent

OURS: dict[str, frozenset[str]] = {
    "sdk_proto": frozenset(),
    "push_core": frozenset(),
    "push_gateway": frozenset({"push_core", "sdk_proto"}),
    "push_api": frozenset({"push_core", "sdk_proto"}),
    "dispatcher": frozenset({"push_core", "sdk_proto"}),
    "ops": frozenset({"push_core", "sdk_proto", "push_gateway", "push_api", "dispatcher"}),
    "bench": frozenset({"push_core", "sdk_proto", "push_gateway", "push_api", "dispatcher", "ops"}),
}

EVERYWHERE = frozenset({"msgspec", "structlog"})

THIRD_PARTIES: dict[str, tuple[str, ...]] = {
    "sqlalchemy": ("push_core/sql/*", "push_core/*/sql.py"),
    "alembic": ("push_core/sql/*",),
    "pymysql": ("push_core/sql/mysql/*",),
    "grpc": ("push_core/rpc/grpc*.py", "push_api/grpc_server.py", "sdk_proto/rpc/*"),
    "grpc_health": ("push_core/rpc/grpc_listener.py", "push_api/grpc_server.py"),
    "grpc_tools": ("sdk_proto/rpc/generate.py",),
    "google": ("sdk_proto/wire/*", "sdk_proto/rpc/*", "push_api/grpc_server.py"),
    "statsd": ("push_core/metrics/statsd.py",),
    "prometheus_client": ("push_core/metrics/prometheus.py",),
    "websockets": ("sdk_proto/python/transport.py", "push_gateway/handshake.py"),
    "starlette": ("push_api/http.py", "ops/demo/routes.py"),
    "uvicorn": ("push_api/http.py", "push_api/http_connection.py", "push_api/http_cycle.py"),
    "httptools": ("push_api/http_connection.py",),
    "httpx": ("dispatcher/fallback/*", "ops/commands/http.py", "ops/demo_calls.py"),
    "httpcore": ("dispatcher/fallback/guarded_http.py",),
    "jwt": ("push_gateway/*token*.py", "ops/tokens.py"),
    "cryptography": ("push_gateway/tls/certificates.py",),
    "redis": ("push_core/redis/*",),
    "hiredis": ("push_core/redis/*",),
    "aiormq": ("push_core/queues/amqp*.py",),
    "pamqp": ("push_core/queues/amqp*.py",),
    "typer": ("ops/cli.py", "ops/commands/*"),
    "rich": ("ops/commands/output.py",),
    "uvloop": ("ops/process.py",),
}

LONGEST = {"tests": 500}
LONGEST_ELSEWHERE = 400
LONGER: dict[str, str] = {
    "sdk_proto/python/client.py": "all that an application calls, over one state: which connection serves",
    "sdk_proto/wire/server.py": "the server's half of the session: its states and their rules are read together",
    "tests/push_api/test_asgi.py": "the table of what callers are refused, case by case",
}


@dataclass(frozen=True, slots=True)
class Import:
    file: PurePosixPath
    line: int
    module: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def sources(package: str) -> list[Path]:
    return [path for path in sorted((ROOT / package).rglob("*.py")) if not is_generated(path)]


def is_generated(path: Path) -> bool:
    return path.name.endswith(("_pb2.py", "_pb2_grpc.py"))


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions included."""
    file = PurePosixPath(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: imports are absolute, so that a reader sees whose they are"
            assert node.module is not None
            yield Import(file, node.lineno, node.module)


def all_imports() -> list[Import]:
    return [found for package in OURS for path in sources(package) for found in imports_of(path)]


@pytest.mark.parametrize("package", OURS)
def test_packages_import_only_the_packages_that_they_may_know(package: str) -> None:
    allowed = OURS[package] | {package}
    assert not [
        str(found)
        for path in sources(package)
        for found in imports_of(path)
        if found.top in OURS and found.top not in allowed
    ]


def test_nothing_that_is_shipped_imports_tests() -> None:
    assert not [str(found) for found in all_imports() if found.top == "tests"]


def test_a_library_is_named_only_in_the_files_for_it() -> None:
    """Benchmarks may use whatever measures best."""
    wrong = []
    for found in all_imports():
        if found.file.parts[0] == "bench":
            continue
        if found.top in OURS or found.top in sys.stdlib_module_names or found.top in EVERYWHERE or found.top == "tests":
            continue
        places = THIRD_PARTIES.get(found.top)
        if places is None:
            wrong.append(f"{found}: a library that the table does not have")
        elif not any(fnmatchcase(str(found.file), place) for place in places):
            wrong.append(f"{found}: allowed in {', '.join(places)}")
    assert not wrong, "\n".join(wrong)


def test_the_table_of_libraries_has_no_places_that_nobody_uses() -> None:
    """So that it keeps saying how things are; generated code counts."""
    used = [found for package in OURS for path in (ROOT / package).rglob("*.py") for found in imports_of(path)]
    idle = [
        (library, place)
        for library, places in THIRD_PARTIES.items()
        for place in places
        if not any(found.top == library and fnmatchcase(str(found.file), place) for found in used)
    ]
    assert not idle


@pytest.mark.parametrize("library", ["websockets"])
def test_the_gateway_knows_its_websocket_library_in_one_file(library: str) -> None:
    files = {str(found.file) for path in sources("push_gateway") for found in imports_of(path) if found.top == library}
    assert len(files) == 1, files


def test_files_are_short_enough_to_hold_one_idea() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in (*OURS, "tests")
        for path in sources(package)
        if (lines := len(path.read_text().splitlines())) > LONGEST.get(package, LONGEST_ELSEWHERE)
    }
    assert not {file: lines for file, lines in long.items() if file not in LONGER}
    assert set(LONGER) <= set(long), "a file that has become short needs no exception any more"


@pytest.mark.parametrize("package", OURS)
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources(package)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    names = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}
    assert not [
        str(path.relative_to(ROOT)) for package in (*OURS, "tests") for path in sources(package) if path.name in names
    ]
