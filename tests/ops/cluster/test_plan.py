"""What a cluster consists of: names, ports that stay, settings in a file."""

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ops.cluster import plan, settings_file
from ops.cluster.plan import Options, processes, shared_settings
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
from ops.settings import Overrides, load_all
from push_core.errors import ConfigError

FREE = {"api_port": 0, "gateway_port": 0}


def options(**more: Any) -> Options:
    return Options(**{**FREE, **more})


def test_by_default_there_are_an_api_two_gateways_and_two_dispatchers(tmp_path: Path) -> None:
    planned = processes(tmp_path, options())
    assert [each.name for each in planned] == ["api-1", "gateway-1", "gateway-2", "dispatcher-1", "dispatcher-2"]
    assert [set(each.ports) for each in planned] == [
        {"http", "grpc", "admin"},
        {"ws", "rpc", "admin"},
        {"ws", "rpc", "admin"},
        {"rpc", "admin"},
        {"rpc", "admin"},
    ]
    ports = [port for each in planned for port in each.ports.values()]
    assert len(set(ports)) == len(ports)


def test_relays_of_their_own_leave_the_rest_to_the_others(tmp_path: Path) -> None:
    planned = {each.name: each for each in processes(tmp_path, options(relays=1, dispatchers=1, apis=2))}
    assert set(planned) == {"api-1", "api-2", "gateway-1", "gateway-2", "dispatcher-1", "relay-1"}
    assert planned["relay-1"].role == "dispatcher"
    assert planned["relay-1"].arguments == ("--roles", "relay")
    assert planned["dispatcher-1"].arguments == ("--roles", "long,vendor,receipts")


def test_workers_choose_ports_of_their_own_and_share_one_for_devices(tmp_path: Path) -> None:
    gateway = processes(tmp_path, options(workers=3))[1]
    assert set(gateway.ports) == {"ws"}
    assert gateway.arguments == ("--workers", "3")
    assert set(gateway.env) == {"TACO_GATEWAY_NAME", "TACO_GATEWAY_PORT"}


def test_ports_stay_from_start_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = processes(tmp_path, options())
    assert processes(tmp_path, options()) == first
    assert processes(tmp_path, options(gateways=3))[:3] == first[:3]
    assert processes(tmp_path, options()) == first  # also when it was started differently in between
    taken = first[1].ports["rpc"]
    monkeypatch.setattr(plan, "is_free", lambda port: port != taken)
    second = processes(tmp_path, options())
    assert second[1].ports["rpc"] != taken
    assert [each.ports for each in second[2:]] == [each.ports for each in first[2:]]


def test_ports_that_are_asked_for_are_taken(tmp_path: Path) -> None:
    planned = processes(tmp_path, options(gateways=3, apis=2, api_port=9000, gateway_port=9100))
    assert [each.ports["ws"] for each in planned if each.role == "gateway"] == [9100, 9101, 9102]
    apis = [each.ports["http"] for each in planned if each.role == "api"]
    assert apis[0] == 9000
    assert apis[1] not in {9000, 9001}
    with pytest.raises(ConfigError, match="port 9001 is asked for twice"):
        processes(tmp_path, options(api_port=9001, gateway_port=9000))


def test_a_list_of_ports_that_can_not_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("[1]")
    with pytest.raises(ConfigError, match="remove it and new ports are chosen"):
        processes(tmp_path, options())


def test_no_secret_is_in_a_command_line_or_an_environment(tmp_path: Path) -> None:
    redis, maria, rabbit = RedisServer(tmp_path / "r"), MariaServer(tmp_path / "m"), RabbitServer(tmp_path / "q")
    own = shared_settings(redis, maria, rabbit, options(), "the-cluster-key")
    settings_file.write(tmp_path / plan.SETTINGS, settings_file.merged(own, None))
    assert stat.S_IMODE((tmp_path / plan.SETTINGS).stat().st_mode) == 0o600
    secrets = [server.dsn.partition("://")[2].partition("@")[0].partition(":")[2] for server in (redis, maria, rabbit)]
    for each in processes(tmp_path, options()):
        spec = each.spec(tmp_path)
        for text in (*spec.argv, *spec.env.values()):
            assert not [secret for secret in (*secrets, "the-cluster-key") if secret in text]


def test_the_programs_read_what_is_written(tmp_path: Path) -> None:
    redis, maria, rabbit = RedisServer(tmp_path / "r"), MariaServer(tmp_path / "m"), RabbitServer(tmp_path / "q")
    own = shared_settings(redis, maria, rabbit, options(), "the-cluster-key")
    settings_file.write(tmp_path / plan.SETTINGS, own)
    settings = load_all(tmp_path, tmp_path / plan.SETTINGS, {}, Overrides())
    assert settings.stores.messages == maria.dsn
    assert settings.stores.queues == rabbit.dsn
    assert settings.stores.presence == settings.stores.claims == settings.stores.limits == redis.dsn
    assert settings.stores.cluster_key == "the-cluster-key"
    for each in processes(tmp_path, options()):
        mine = load_all(tmp_path, tmp_path / plan.SETTINGS, each.env, Overrides())
        assert mine.admin.port == each.ports["admin"]
        assert getattr(mine, each.role).name == each.name


def test_the_users_file_is_over_ours_key_by_key(tmp_path: Path) -> None:
    theirs = tmp_path / "mine.toml"
    theirs.write_text(
        '[stores]\npresence = "redis://127.0.0.1:1/0"\nreceipts = {east = ["a:1", "b:2"]}\n'
        '[gateway]\nheartbeat_grace = 1.5\nreuse_port = true\n[dispatcher]\nprefetch = 3\nname = "a \\"b\\" \\u00e9 \\u007f"\n'
    )
    tables = settings_file.merged(
        {"stores": {"presence": "ours", "queues": "ours"}, "process": {"stop_s": 5.0}}, theirs
    )
    settings_file.write(tmp_path / "out.toml", tables)
    assert tomllib.loads((tmp_path / "out.toml").read_text()) == {
        "stores": {
            "presence": "redis://127.0.0.1:1/0",
            "queues": "ours",
            "receipts": {"east": ["a:1", "b:2"]},
        },
        "process": {"stop_s": 5.0},
        "gateway": {"heartbeat_grace": 1.5, "reuse_port": True},
        "dispatcher": {"prefetch": 3, "name": 'a "b" é \x7f'},
    }


@pytest.mark.parametrize(
    ("text", "says"), [("[nothing]\n", "is not a section"), ("stores = 1\n", "must be a table"), ("[", "not TOML")]
)
def test_a_users_file_that_is_wrong_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    theirs = tmp_path / "mine.toml"
    theirs.write_text(text)
    with pytest.raises(ConfigError, match=says):
        settings_file.merged({}, theirs)


def test_ports_are_written_for_people_too(tmp_path: Path) -> None:
    planned = processes(tmp_path, options())
    assert json.loads((tmp_path / "ports.json").read_text()) == {each.name: dict(each.ports) for each in planned}
