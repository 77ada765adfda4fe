"""Where the contracts of the stores run: a class for each adapter, with its DSN. Another server is another class."""

from pathlib import Path

import pytest

from tests.contracts.messages_support import Shards
from tests.support.maria import Tables


class OnSqliteFile:
    @pytest.fixture
    def dsn(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'store.sqlite'}"


class OnSqliteMemory:
    @pytest.fixture
    def dsn(self) -> str:
        return "sqlite://"


class OnMaria:
    """One database for all tests of the process: its tables are made once and emptied for each."""

    @pytest.fixture
    def dsn(self, maria_tables: Tables) -> str:
        maria_tables.empty()
        return maria_tables.dsn


TOGETHER = {
    # The API gives all messages of a key one shard.
    "test_a_key_that_comes_again_is_answered_with_its_first_message",
    "test_a_key_used_for_another_message_is_a_conflict",
    "test_of_one_key_in_a_batch_the_first_is_done",
    "test_a_key_counts_for_a_day",
    "test_who_shares_a_key_with_a_collided_message_comes_again_too",
    "test_pruning_keeps_keys_of_the_last_day",
    # Collapsing and the bound of an inbox count within a store.
    "test_of_one_collapse_key_the_highest_id_waits",
    "test_a_change_to_what_was_displaced_in_the_same_call_comes_too_late",
    "test_what_was_displaced_in_the_same_call_does_not_come_back",
    "test_the_oldest_of_a_full_inbox_ends",
    "test_a_recall_row_displaces_the_oldest_of_a_full_inbox",
    # A limit counts for each store, and a store refuses ids that are too old for its own part.
    "test_fewer_results_than_the_limit_mean_that_nothing_is_left",
    "test_due_rows_are_given_out_oldest_first_and_held",
    "test_pruning_removes_what_ended_before_and_nothing_else",
    "test_ids_that_are_too_old_are_refused_with_nothing_written",
    "test_too_old_ids_take_no_other_call_with_them",
}
"""What several stores promise for messages of one shard only (docs/decisions/0015): these tests keep to one, all others use both stores."""


class _Spread:
    @pytest.fixture(autouse=True)
    def spread(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        name = request.node.originalname
        monkeypatch.setattr(Shards, "spread", name not in TOGETHER)


EVEN, ODD = (",".join(map(str, range(first, 256, 2))) for first in (0, 1))


class OnTwoSqliteFiles(_Spread):
    @pytest.fixture
    def dsn(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/even.sqlite?shards={EVEN} sqlite:///{tmp_path}/odd.sqlite?shards={ODD}"


class OnTwoMarias(_Spread):
    @pytest.fixture
    def dsn(self, maria_tables: Tables, more_maria_tables: Tables) -> str:
        for tables in (maria_tables, more_maria_tables):
            tables.empty()
        return f"{maria_tables.dsn}&shards={EVEN} {more_maria_tables.dsn}&shards={ODD}"
