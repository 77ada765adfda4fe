"""`taco db upgrade` and `taco db status`: the tables of a store, brought to this release's version by somebody who decides to.

Runs beside programs of the release before: steps only add what these don't know (`migrate.py`). Two upgrades at a time take turns.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from push_core.errors import ConfigError, Unavailable
from push_core.sql.engine import Place, place_of
from push_core.sql.errors import Denied, judge, translate
from push_core.sql.migrate import steps_known, upgrade, version_of
from push_core.sql.mysql.locks import lock_name
from push_core.sql.mysql.partitions import make_ahead
from push_core.sql.window import check_promises, complaint

STEP_TIMEOUT_S = 3_600.0  # a step over a large table takes its time
TURN_S = 60  # how long one upgrade waits for another


class Status(NamedTuple):
    """`problem` is what keeps this release from working with the tables, None for nothing. `at` is None where there are no tables."""

    store: str
    schema: str
    at: str | None
    works_with: str | None
    newest: str
    problem: str | None


def status(dsn: str, schema: str) -> Status:
    """Blocks. Raises ConfigError for a bad DSN, Unavailable when the store can't be asked."""
    place = place_of(dsn)
    return _run(place, lambda conn: _status(conn, place, schema))


def upgrade_store(dsn: str, schema: str) -> Status:
    """Bring the tables to this version; how they stand then. Blocks, for as long as the steps take. Raises as `status`, and ConfigError for
    tables that are ahead of this release."""
    place = place_of(dsn)
    return _run(place, lambda conn: _upgrade(conn, place, schema))


def _run(place: Place, work: Callable[[Connection], Status]) -> Status:
    engine = place.make_patient_engine(STEP_TIMEOUT_S)
    try:
        with engine.connect() as conn, conn.begin():
            return work(conn)
    except DBAPIError as error:
        translated = translate(judge(error), place.name)
        if isinstance(translated, Denied):
            raise ConfigError(translated.message) from None
        raise translated from None
    finally:
        engine.dispose()


def _status(conn: Connection, place: Place, schema: str) -> Status:
    version, known = version_of(conn, schema), steps_known(schema)
    return Status(
        place.name.removeprefix("the store "),
        schema,
        version.at,
        version.works_with,
        known[-1],
        complaint(version, known),
    )


def _upgrade(conn: Connection, place: Place, schema: str) -> Status:
    version, known = version_of(conn, schema), steps_known(schema)
    if version.at is not None and version.at not in known:
        if sentence := complaint(version, known):
            raise ConfigError(f"{place.name} {sentence}")
        return _status(conn, place, schema)  # a newer release was here, and this one works with what it left
    if place.embedded:
        upgrade(conn, schema)
        return _status(conn, place, schema)
    check_promises(conn, place)
    with _turn(conn, place, schema):
        upgrade(conn, schema)
        if schema == "messages" and place.options is not None and place.options.partition_days:
            make_ahead(conn, place.options.partition_days)
    return _status(conn, place, schema)


@contextmanager
def _turn(conn: Connection, place: Place, schema: str) -> Iterator[None]:
    """A lock of the server's, which goes when the connection does."""
    name = lock_name(conn, f"upgrade {schema}")
    if conn.execute(text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": TURN_S}).scalar() != 1:
        raise Unavailable(f"{place.name}: another `taco db upgrade` has been at work for {TURN_S} s; look again later")
    try:
        yield
    finally:
        conn.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
