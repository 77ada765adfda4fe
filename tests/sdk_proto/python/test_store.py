"""Both stores: the same promises, one of them over a restart."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sdk_proto.python.store import FileStore, MemoryStore, Store, StoreError


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same store again and again, as restarts would."""
    memory = MemoryStore()
    return (lambda: memory) if request.param == "memory" else (lambda: FileStore(tmp_path / "state.sqlite"))


def test_an_installation_is_named_once_and_its_attempts_rise(make: Callable[[], Store]) -> None:
    store = make()
    install, first = store.next_attempt("a", "d")
    assert store.next_attempt("a", "d") == (install, first + 1)
    store.close()
    store = make()
    assert store.next_attempt("a", "d") == (install, first + 2)
    store.close()


def test_what_is_remembered_comes_back_in_order_and_what_is_forgotten_does_not(make: Callable[[], Store]) -> None:
    store = make()
    store.remember("a", "d", [(9, 100), (3, 200)])
    store.remember("a", "d", [(7, 300), (9, 999)])
    store.forget("a", "d", [3])
    store.close()
    store = make()
    assert store.seen("a", "d") == [(9, 100), (7, 300)]
    store.close()


def test_two_apps_with_one_device_name_share_nothing(make: Callable[[], Store]) -> None:
    store = make()
    store.remember("a", "d", [(1, 100)])
    store.remember("b", "d", [(2, 100)])
    store.forget("b", "d", [1])
    assert (store.seen("a", "d"), store.seen("b", "d"), store.seen("a", "e")) == ([(1, 100)], [(2, 100)], [])
    assert store.next_attempt("a", "d")[0] != store.next_attempt("b", "d")[0]
    store.close()


def test_what_was_learned_of_networks_is_kept_for_each_device(make: Callable[[], Store]) -> None:
    store = make()
    assert store.heartbeats("a", "d") is None
    store.keep_heartbeats("a", "d", "old")
    store.keep_heartbeats("a", "d", "new")
    store.keep_heartbeats("b", "d", "other")
    store.close()
    store = make()
    assert (store.heartbeats("a", "d"), store.heartbeats("b", "d"), store.heartbeats("a", "e")) == (
        "new",
        "other",
        None,
    )
    store.close()


def test_the_highest_id_fits(make: Callable[[], Store]) -> None:
    store = make()
    store.remember("a", "d", [(2**63 - 1, 2**53 - 1)])
    assert store.seen("a", "d") == [(2**63 - 1, 2**53 - 1)]
    store.close()


def test_an_id_is_on_the_disk_when_remember_returns(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.sqlite")
    store.remember("a", "d", [(1, 100)])
    other = FileStore(tmp_path / "state.sqlite")  # while the first is still open, as after a kill
    assert other.seen("a", "d") == [(1, 100)]
    other.close()
    store.close()


def test_a_file_that_is_no_store_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database" * 100)
    store = FileStore(tmp_path / "state.sqlite")
    with pytest.raises(StoreError, match=r"state.sqlite"):
        store.seen("a", "d")
    store.close()


def test_a_locked_file_is_an_error_and_works_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdk_proto.python.store.BUSY_TIMEOUT_S", 0.01)
    store = FileStore(tmp_path / "state.sqlite")
    store.remember("a", "d", [(1, 100)])
    other = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError):
        store.remember("a", "d", [(2, 100)])
    other.execute("ROLLBACK")
    other.close()
    store.remember("a", "d", [(2, 100)])
    assert store.seen("a", "d") == [(1, 100), (2, 100)]
    store.close()


def test_threads_take_turns(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.sqlite")
    attempts: list[int] = []
    threads = [threading.Thread(target=lambda: attempts.append(store.next_attempt("a", "d")[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(attempts) == list(range(1, 9))
    store.close()


def test_a_closed_file_stays_closed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state.sqlite")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.next_attempt("a", "d")
    assert not (tmp_path / "state.sqlite").exists()
