"""`taco db`: the tables of a server are made and judged by hand, in sentences and exit statuses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.cluster.servers import MariaServer
from tests.support.maria import connect
from tests.support.terminal import taco


@pytest.fixture
def dsn(maria_server: MariaServer) -> Iterator[str]:
    with connect(maria_server.dsn) as admin, admin.cursor() as cursor:
        cursor.execute("CREATE DATABASE upgrades")
        yield maria_server.dsn_of("upgrades")
        cursor.execute("DROP DATABASE upgrades")


async def test_tables_are_made_and_then_fit(dsn: str) -> None:
    before = await taco("db", "status", "--messages", dsn, "--json")
    assert before.status == 1
    (store,) = before.json()["stores"]
    assert store["at"] is None
    assert "taco db upgrade" in store["problem"]
    done = await taco("db", "upgrade", "--messages", dsn, "--devices", dsn, "--json")
    assert done.status == 0, done.err
    assert [one["problem"] for one in done.json()["stores"]] == [None, None]
    after = await taco("db", "status", "--messages", dsn, "--devices", dsn)
    assert after.status == 0
    assert "fits" in after.out
    again = await taco("db", "upgrade", "--messages", dsn, "--json")
    assert again.json()["stores"] == done.json()["stores"][:1], "a repeat changes nothing"


async def test_the_stores_of_the_settings_are_meant_when_none_is_named(dsn: str, tmp_path: Path) -> None:
    config = tmp_path / "taco.toml"
    config.write_text(f'[stores]\nmessages = "{dsn}"\n')
    done = await taco("db", "upgrade", "--config", str(config), "--data", str(tmp_path), "--json")
    assert done.status == 0, done.err
    assert [one["schema"] for one in done.json()["stores"]] == ["messages", "devices"]
    assert (tmp_path / "devices.sqlite").exists()


async def test_each_of_several_message_stores_is_brought_forward(tmp_path: Path) -> None:
    both = f"sqlite:///{tmp_path}/a.sqlite?shards=0-127 sqlite:///{tmp_path}/b.sqlite?shards=128-255"
    done = await taco("db", "upgrade", "--messages", both, "--json")
    assert [one["at"] is not None for one in done.json()["stores"]] == [True, True]


@pytest.mark.parametrize(
    ("change", "sentence", "status"),
    [
        ((":{password}@", ":wrong@"), "refused the user or the password", 2),
        (("/upgrades", "/nowhere"), "no such database: create it", 2),
        (("/upgrades", ""), "names its database", 2),
        (("/upgrades", "/upgrades?pool=3"), "pool is not an option of mysql://", 2),
        ((":{port}/", ":1/"), "can't be reached: Connection refused", 1),
    ],
)
async def test_what_is_wrong_is_one_sentence_without_the_password(
    dsn: str, maria_server: MariaServer, change: tuple[str, str], sentence: str, status: int
) -> None:
    password = dsn.split(":")[2].split("@")[0]
    old, new = (part.format(password=password, port=maria_server.port) for part in change)
    done = await taco("db", "upgrade", "--messages", dsn.replace(old, new))
    assert done.status == status
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert password not in done.err
    assert "wrong" not in done.err
