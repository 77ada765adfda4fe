"""Where peers may be, and certificates that can't be used."""

from pathlib import Path

import pytest

from push_core.errors import ConfigError
from push_core.rpc.trust import Certificates, Networks
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    ("listens", "advertised", "inside", "outside"),
    [
        (
            "127.0.0.1:0",
            None,
            ["127.0.0.1:1", "[::1]:1", "localhost:1"],
            ["10.0.0.1:1", "gw-1:1", "8.8.8.8:1", "", "x"],
        ),
        (
            "0.0.0.0:0",
            "10.1.2.3",
            ["127.0.0.1:1", "10.9.9.9:1", "[fd00::1]:1"],
            ["8.8.8.8:1", "gw-2:1", "169.254.169.254:80"],
        ),
        ("10.0.0.1:7000", None, ["192.168.3.4:1"], ["gw.example.com:1"]),
        (
            "0.0.0.0:0",
            "gw-1.push.example",
            ["gw-2.push.example:1", "a.b.push.example:1"],
            ["push.example.evil:1", "evil:1"],
        ),
        ("0.0.0.0:0", "gateway-1", ["gateway-2:1", "10.0.0.1:1"], ["evil.example:1", "8.8.8.8:1"]),
    ],
)
def test_without_settings_peers_are_looked_for_where_we_listen_ourselves(
    listens: str, advertised: str | None, inside: list[str], outside: list[str]
) -> None:
    networks = Networks.of_listener(listens, advertised)
    assert [address for address in inside if not networks.allow(address)] == []
    assert [address for address in outside if networks.allow(address)] == []


def test_what_is_set_is_the_whole_list() -> None:
    networks = Networks(["10.1.0.0/16", "192.0.2.7", "gw.example", "*.push.example"])
    inside = ["10.1.255.1:9", "192.0.2.7:9", "GW.example:9", "a.push.example:9"]
    outside = ["127.0.0.1:9", "10.2.0.1:9", "192.0.2.8:9", "x.gw.example:9", "push.example:9", "evilpush.example:9"]
    assert all(networks.allow(address) for address in inside)
    assert not any(networks.allow(address) for address in outside)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0", "", " ", "300.1.1.1", "gw/8"])
def test_an_entry_that_is_neither_a_network_nor_a_name_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="rpc_allowed_networks"):
        Networks([entry])


def test_no_certificates_at_all_is_a_choice_and_half_of_them_a_mistake(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("127.0.0.1")
    assert Certificates.load(None, None, None, None) is None
    with pytest.raises(ConfigError, match=r"rpc_key: not set; .* belong together"):
        Certificates.load(files.cert, None, files.ca, None)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files, other = authority.issue("127.0.0.1"), authority.issue("127.0.0.1", file="other")
    garbage = tmp_path / "garbage"
    garbage.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"rpc_cert: .*missing cannot be read \(No such file"):
        Certificates.load(tmp_path / "missing", files.key, files.ca, None)
    with pytest.raises(ConfigError, match=r"rpc_ca: .*garbage holds no certificate"):
        Certificates.load(files.cert, files.key, garbage, None)
    with pytest.raises(ConfigError, match=r"rpc_cert: .*node\.pem and rpc_key .*other\.key are no certificate and its"):
        Certificates.load(files.cert, other.key, files.ca, None)


def test_a_private_key_is_not_shown(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(Authority(tmp_path).issue("127.0.0.1").load())
