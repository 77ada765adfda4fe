from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from push_core.errors import ConfigError
from push_core.settings import check_sections, describe, load, read_file, setting


@dataclass(frozen=True, slots=True)
class Settings:
    host: str = setting("127.0.0.1", "Where to listen.")
    port: int = setting(8081, "Port for devices.", at_least=0, at_most=65535)
    grace_s: float = setting(1.5, "Grace.", at_least=0)
    trace: bool = setting(False, "Write traces.")
    level: str = setting("info", "How much to log.", choices=("debug", "info", "warning"))
    data: Path = setting(Path("data"), "Folder.")
    tags: tuple[str, ...] = setting((), "Tags.")
    zones: dict[str, tuple[str, ...]] = setting({}, "Addresses by zone.")
    limit: int | None = setting(None, "Limit, if any.")
    key: str | None = setting(None, "Secret.", secret=True)
    pin: int = setting(0, "Secret number.", secret=True, at_most=9999)


def from_file(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "taco.toml"
    file.write_text(text)
    return load(Settings, "gateway", file=file)


def from_env(**variables: str) -> Settings:
    return load(Settings, "gateway", env={f"TACO_GATEWAY_{name}": text for name, text in variables.items()})


def complaint(caught: "pytest.ExceptionInfo[ConfigError]") -> str:
    return str(caught.value)


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_anything_the_defaults_hold() -> None:
    assert load(Settings, "gateway") == Settings()


def test_each_type_is_read_from_a_file(tmp_path: Path) -> None:
    settings = from_file(
        tmp_path,
        """
        [gateway]
        host = "::1"
        port = 0
        grace_s = 2
        trace = true
        level = "debug"
        data = "/var/lib/taco"
        tags = ["a", "b"]
        zones = { east = ["10.0.0.1:7001", "10.0.0.2:7001"], west = "10.1.0.1:7001" }
        limit = 5
        key = "hush"
        [api]
        port = "another program's affair"
        """,
    )
    assert settings == Settings(
        host="::1", port=0, grace_s=2.0, trace=True, level="debug", data=Path("/var/lib/taco"), tags=("a", "b"),
        zones={"east": ("10.0.0.1:7001", "10.0.0.2:7001"), "west": ("10.1.0.1:7001",)}, limit=5, key="hush",
    )  # fmt: skip
    assert isinstance(settings.grace_s, float)


def test_each_type_is_read_from_the_environment() -> None:
    settings = from_env(
        HOST="::1", PORT="0", GRACE_S="2", TRACE="yes", LEVEL="debug", DATA="/var/lib/taco", TAGS="a, b,",
        ZONES="east=10.0.0.1:7001, 10.0.0.2:7001; west=10.1.0.1:7001", LIMIT="5", KEY="hush",
    )  # fmt: skip
    assert settings == Settings(
        host="::1", port=0, grace_s=2.0, trace=True, level="debug", data=Path("/var/lib/taco"), tags=("a", "b"),
        zones={"east": ("10.0.0.1:7001", "10.0.0.2:7001"), "west": ("10.1.0.1:7001",)}, limit=5, key="hush",
    )  # fmt: skip


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "taco.toml"
    file.write_text('[gateway]\nhost = "file"\nport = 1\nlimit = 1\n')
    env = {"TACO_GATEWAY_PORT": "2", "TACO_GATEWAY_LIMIT": "2", "TACO_API_PORT": "not ours", "HOME": "/root"}
    settings = load(Settings, "gateway", file=file, env=env, overrides={"limit": 3, "host": None})
    assert (settings.host, settings.port, settings.limit) == ("file", 2, 3)


def test_tables_that_were_read_already_are_taken() -> None:
    assert load(Settings, "gateway", tables={"gateway": {"port": 7}}).port == 7


@pytest.mark.parametrize("text", ["1", "true", "YES", "On"])
def test_many_words_mean_true(text: str) -> None:
    assert from_env(TRACE=text).trace is True


@pytest.mark.parametrize("text", ["0", "False", "no", "OFF"])
def test_many_words_mean_false(text: str) -> None:
    assert from_env(TRACE=text).trace is False


def test_the_defaults_of_one_settings_object_are_not_anothers() -> None:
    Settings().zones["east"] = ("x",)
    assert Settings().zones == {}


# ── what is refused, and how it is said ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('host = 5', "host must be text, got 5"),
        ('port = "8081"', "port must be a whole number, got '8081'"),
        ("port = 8081.0", "port must be a whole number, got 8081.0"),
        ("port = true", "port must be a whole number, got True"),
        ("port = -1", "port must be at least 0, got -1"),
        ("port = 65536", "port must be at most 65535, got 65536"),
        ('grace_s = "long"', "grace_s must be a number, got 'long'"),
        ("grace_s = true", "grace_s must be a number, got True"),
        ("grace_s = nan", "grace_s must be a number, got nan"),
        ("grace_s = inf", "grace_s must be a number, got inf"),
        ("grace_s = -0.1", "grace_s must be at least 0, got -0.1"),
        ('trace = "yes"', "trace must be true or false, got 'yes'"),
        ("trace = 1", "trace must be true or false, got 1"),
        ('level = "warn"', "level must be one of debug, info, warning, got 'warn'; did you mean warning?"),
        ("data = 5", "data must be a path, got 5"),
        ('tags = "a"', "tags must be a list of text, got 'a'"),
        ("tags = 5", "tags must be a list of text, got 5"),
        ("tags = [1]", "tags must be a list of text, got [1]"),
        ("zones = 5", "zones must be a table of lists, got 5"),
        ("zones = { east = 5 }", "zones must be a table of lists, got {'east': 5}"),
        ("zones = { east = [5] }", "zones must be a table of lists, got {'east': [5]}"),
        ("limit = []", "limit must be a whole number or nothing, got []"),
        ("prot = 1", "prot is not a setting; did you mean port?"),
        ("xyzzy = 1", "xyzzy is not a setting"),
    ],
    ids=lambda value: value if "=" in value else "",
)  # fmt: skip
def test_a_wrong_line_is_named_by_file_section_key_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_file(tmp_path, f"[gateway]\n{line}\n")
    assert complaint(caught) == f"{tmp_path / 'taco.toml'}: [gateway] {reason}"


@pytest.mark.parametrize(
    ("variable", "text", "reason"),
    [
        ("PORT", "many", "TACO_GATEWAY_PORT must be a whole number, got 'many'"),
        ("PORT", "", "TACO_GATEWAY_PORT must be a whole number, got ''"),
        ("PORT", "70000", "TACO_GATEWAY_PORT must be at most 65535, got 70000"),
        ("GRACE_S", "1,5", "TACO_GATEWAY_GRACE_S must be a number, got '1,5'"),
        ("GRACE_S", "nan", "TACO_GATEWAY_GRACE_S must be a number, got nan"),
        ("TRACE", "maybe", "TACO_GATEWAY_TRACE must be true or false, got 'maybe'"),
        ("LEVEL", "loud", "TACO_GATEWAY_LEVEL must be one of debug, info, warning, got 'loud'"),
        ("ZONES", "east", "TACO_GATEWAY_ZONES must look like name=a,b;name=c"),
        ("PROT", "1", "TACO_GATEWAY_PROT is not a setting; did you mean TACO_GATEWAY_PORT?"),
    ],
)
def test_a_wrong_variable_is_named_with_its_reason(variable: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_env(**{variable: text})
    assert complaint(caught) == f"environment: {reason}"


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"port": 70_000}, "option port must be at most 65535, got 70000"),
        ({"prot": 1}, "option prot is not a setting; did you mean port?"),
    ],
)
def test_a_wrong_option_is_named_with_its_reason(overrides: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Settings, "gateway", overrides=overrides)
    assert complaint(caught) == reason


def test_no_complaint_shows_a_secret(tmp_path: Path) -> None:
    for wrong in ('key = ["hunter2"]', 'pin = "hunter2"', "pin = 22222"):
        with pytest.raises(ConfigError) as caught:
            from_file(tmp_path, f"[gateway]\n{wrong}\n")
        assert "hunter2" not in complaint(caught)
        assert "22222" not in complaint(caught)
    with pytest.raises(ConfigError) as caught:
        from_env(PIN="hunter2")
    assert complaint(caught) == "environment: TACO_GATEWAY_PIN must be a whole number"


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway must be a section, \[gateway\]"):
        from_file(tmp_path, "gateway = 5\n")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_file(tmp_path / "missing.toml")
    assert complaint(caught) == f"{tmp_path / 'missing.toml'}: cannot be read (No such file or directory)"


def test_a_file_that_is_not_toml_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"taco\.toml: not TOML: .*line 2"):
        from_file(tmp_path, "[gateway]\nport 8081\n")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "taco.toml"
    file.write_bytes(b'[gateway]\nhost = "\xff"\n')
    with pytest.raises(ConfigError, match=r"taco\.toml: not UTF-8: .* at byte 18"):
        load(Settings, "gateway", file=file)


def test_a_section_that_no_program_reads_is_refused_with_the_nearest_name() -> None:
    check_sections({"gateway": {}, "api": {}}, ["api", "gateway", "stores"], "taco.toml")
    with pytest.raises(ConfigError) as caught:
        check_sections({"gatway": {}}, ["api", "gateway", "stores"], "taco.toml")
    assert complaint(caught) == "taco.toml: [gatway] is not a section; did you mean gateway?"


# ── what the documents are made from ────────────────────────────────────────────────────────────────────────────────


def test_each_field_is_described_in_order_with_its_limits_and_without_secrets() -> None:
    described = {line.key: line for line in describe(Settings, "gateway")}
    assert list(described)[:2] == ["gateway.host", "gateway.port"]
    port = described["gateway.port"]
    assert (port.env, port.type, port.default) == ("TACO_GATEWAY_PORT", "a whole number", "8081")
    assert port.doc == "Port for devices. (≥ 0, ≤ 65535)"
    assert described["gateway.grace_s"].doc == "Grace. (≥ 0)"
    assert described["gateway.level"].doc == "How much to log. One of: debug, info, warning."
    assert described["gateway.limit"].type == "a whole number or nothing"
    assert described["gateway.key"].default == described["gateway.pin"].default == ""


def test_no_repr_shows_a_secret() -> None:
    assert "hush" not in repr(Settings(key="hush"))
    assert "4711" not in repr(Settings(pin=4711))
