"""Where the settings of `taco up` come from, and what is refused."""

import re
from pathlib import Path

import pytest

from ops.settings import Overrides, load_all, with_source
from push_core.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_stores_that_nobody_names_are_files_in_the_data_folder() -> None:
    stores = load_all(Path("d"), None, {}, Overrides()).stores
    assert (stores.messages, stores.devices) == ("sqlite:///d/messages.sqlite", "sqlite:///d/devices.sqlite")


def test_a_store_that_is_named_stays_as_named() -> None:
    stores = load_all(Path("d"), None, {"TACO_STORES_MESSAGES": "sqlite:////srv/m.sqlite"}, Overrides()).stores
    assert (stores.messages, stores.devices) == ("sqlite:////srv/m.sqlite", "sqlite:///d/devices.sqlite")


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[api]\nport = 1\ngrpc_port = 1\nhost = '::1'\n")
    env = {"TACO_API_PORT": "2", "TACO_API_GRPC_PORT": "2"}
    api = load_all(Path("d"), file, env, Overrides(api_port=3)).api
    assert (api.port, api.grpc_port, api.host) == (3, 2, "::1")


def test_taco_toml_is_read_where_it_lies() -> None:
    Path("taco.toml").write_text("[gateway]\nport = 7\n")
    assert load_all(Path("d"), None, {}, Overrides()).gateway.port == 7


def test_one_host_is_for_all_programs_that_listen() -> None:
    settings = load_all(Path("d"), None, {}, Overrides(host="0.0.0.0"))
    assert (settings.api.host, settings.gateway.host) == ("0.0.0.0", "0.0.0.0")


def test_variables_of_commands_are_no_settings_and_unknown_ones_are_refused() -> None:
    load_all(Path("d"), None, {"TACO_API": "http://x", "TACO_KEY": "k", "TACO_DATA": "d", "PATH": "x"}, Overrides())
    with pytest.raises(ConfigError, match="TACO_APY_PORT is not a setting"):
        load_all(Path("d"), None, {"TACO_APY_PORT": "1"}, Overrides())
    with pytest.raises(ConfigError, match=re.escape("TACO_API_PROT is not a setting; did you mean TACO_API_PORT?")):
        load_all(Path("d"), None, {"TACO_API_PROT": "1"}, Overrides())


def test_the_cluster_key_stays_out_of_reprs() -> None:
    settings = load_all(Path("d"), None, {}, Overrides()).with_cluster_key("do-not-print")
    assert settings.stores.cluster_key == "do-not-print"
    assert "do-not-print" not in repr(settings)


def test_a_complaint_made_at_the_start_says_where_the_value_was_set(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[dispatcher]\nroles = ['x']\n")
    sentence = "[dispatcher] roles: 'x' is not a role"
    assert with_source(sentence, file, {}) == f"{file}: {sentence}"
    variable = "TACO_DISPATCHER_ROLES"
    assert with_source(sentence, file, {variable: "x"}) == f"environment: {variable}: {sentence}"
    assert with_source("[api] port: 80 is taken", file, {}) == "[api] port: 80 is taken"
    assert with_source("the folder is in use", file, {}) == "the folder is in use"


def test_what_taco_toml_says_is_named_without_an_option() -> None:
    Path("taco.toml").write_text("[gateway]\nheartbeat_min_s = 700\n")
    assert with_source("[gateway] heartbeat: no", None, {}) == "taco.toml: [gateway] heartbeat: no"
