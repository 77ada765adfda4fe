"""Settings that make no sense for programs of their own."""

from dataclasses import replace
from pathlib import Path

import pytest

from ops import roles
from ops.cluster_key import with_cluster_key
from ops.settings import AllSettings, Overrides, load_all
from push_core.adapters import ApiPorts, GatewayPorts, Ports
from push_core.errors import ConfigError


@pytest.fixture
def settings(tmp_path: Path) -> AllSettings:
    env = {"TACO_STORES_PRESENCE": "redis://127.0.0.1:1/0", "TACO_STORES_QUEUES": "amqp://u:hunter2@127.0.0.1:1/"}
    return load_all(tmp_path, None, env, Overrides(name="n-1", zone="west"))


def with_stores(settings: AllSettings, **stores: str) -> AllSettings:
    return replace(settings, stores=replace(settings.stores, **stores))  # type: ignore[arg-type]


def test_each_program_opens_what_it_needs_under_its_name_in_its_zone(settings: AllSettings) -> None:
    plans = [make(settings, None) for make in roles.PLANS.values()]
    assert [(plan.role, plan.name, plan.zone, plan.only) for plan in plans] == [
        ("api", "n-1", "west", ApiPorts),
        ("gateway", "n-1", "west", GatewayPorts),
        ("dispatcher", "n-1", "west", Ports),
    ]


@pytest.mark.parametrize("role", list(roles.PLANS))
@pytest.mark.parametrize(
    ("port", "dsn", "sentence"),
    [
        ("presence", "memory://", r"\[stores\] presence: memory:// lives inside one process, .* such as redis://"),
        (
            "queues",
            "memory://?length=5",
            r"\[stores\] queues: memory://\?length=5 lives inside one process, .* amqp://",
        ),
        ("rpc", "inproc://", r"\[stores\] rpc: inproc:// reaches only the process itself; .* grpc://HOST:PORT"),
        (
            "rpc",
            "grpc://0.0.0.0:7000",
            r"\[stores\] rpc: grpc://0\.0\.0\.0:7000 listens on every address, .*\?advertise=HOST",
        ),
        ("rpc", "grpc://[::]:7000", r"\[stores\] rpc: .* \?advertise=HOST"),
    ],
)
def test_what_one_process_has_for_itself_is_refused_by_name(
    settings: AllSettings, role: str, port: str, dsn: str, sentence: str
) -> None:
    changed = with_stores(settings, **{port: dsn})
    needs_not = (role, port) == ("gateway", "queues") or (role == "api" and dsn.startswith("grpc"))
    if needs_not:  # a gateway publishes nothing, an API is called by nobody
        roles.PLANS[role](changed, None)
        return
    with pytest.raises(ConfigError, match=sentence):
        roles.PLANS[role](changed, None)


def test_a_listener_on_every_address_that_says_where_it_is_reached_is_fine(settings: AllSettings) -> None:
    roles.gateway(with_stores(settings, rpc="grpc://0.0.0.0:7000?advertise=gw-1.internal"), None)


# ── the cluster key ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_key_and_certificates_every_way_to_get_there_is_named(settings: AllSettings, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cluster_key: not set, .* TACO_STORES_CLUSTER_KEY or .*cluster\.key.* rpc_cert"
    ):
        with_cluster_key(settings, tmp_path)
    assert not (tmp_path / "cluster.key").exists(), "a key made up here would be one that no other program knows"


def test_the_key_of_the_settings_goes_before_the_one_in_the_folder(settings: AllSettings, tmp_path: Path) -> None:
    (tmp_path / "cluster.key").write_text("from the folder\n")
    assert with_cluster_key(settings, tmp_path).stores.cluster_key == "from the folder"
    assert with_cluster_key(settings.with_cluster_key("set"), tmp_path).stores.cluster_key == "set"


def test_an_empty_key_file_is_no_key(settings: AllSettings, tmp_path: Path) -> None:
    (tmp_path / "cluster.key").write_text("\n")
    with pytest.raises(ConfigError, match="cluster_key: not set"):
        with_cluster_key(settings, tmp_path)


def test_certificates_stand_in_for_the_key(settings: AllSettings, tmp_path: Path) -> None:
    certified = with_stores(settings, rpc_cert="cert.pem", rpc_key="key.pem", rpc_ca="ca.pem")
    assert with_cluster_key(certified, tmp_path).stores.cluster_key is None
