"""The store: one writer, group commit, and URLs that cannot be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from envs.errors import ConfigError
from serving.store.store import Store, StoreClosedError
from serving.store.tables import meta


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(f"sqlite:///{tmp_path / 'some.db'}")


def writing(key: str) -> Callable[[Connection], object]:
    """A command that stores one row."""
    return lambda connection: connection.execute(insert(meta).values(key=key, value="x"))


def drawing(store: Store) -> Callable[[Connection], int]:
    """A command that draws the next running number."""
    return lambda connection: store.next_seq()


def keys(store: Store) -> set[str]:
    """Keys on disk, read beside the writer."""
    with store.read() as connection:
        return set(connection.scalars(select(meta.c.key))) - {"schema_version", "seq"}


def test_what_is_promised_is_on_disk_and_in_wal_mode(store: Store, tmp_path: Path) -> None:
    store.submit(writing("a")).result(10)
    with sqlite3.connect(tmp_path / "some.db") as other:
        assert other.execute("SELECT value FROM meta WHERE key = 'a'").fetchone() == ("x",)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_the_connections_keep_their_pragmas(store: Store) -> None:
    def pragmas(connection: Connection) -> list[int]:
        names = ("synchronous", "busy_timeout", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    assert store.submit(pragmas).result(10) == [2, 5000, 1]
    with store.read() as connection:
        assert pragmas(connection) == [2, 5000, 1]
    store.close()


def test_a_command_that_fails_takes_nothing_with_it_and_leaves_nothing(store: Store) -> None:
    def half(connection: Connection) -> None:
        connection.execute(insert(meta).values(key="half", value="x"))
        raise ValueError("halfway")

    promises = [store.submit(writing(str(n))) for n in range(20)]
    failed = store.submit(half)
    promises.append(store.submit(writing("after")))
    with pytest.raises(ValueError, match="halfway"):
        failed.result(10)
    for promise in promises:
        promise.result(10)
    assert keys(store) == {*map(str, range(20)), "after"}
    store.close()


def test_closing_finishes_what_is_queued_and_takes_nothing_more(store: Store) -> None:
    for n in range(50):
        store.submit(writing(str(n)))
    store.close()
    assert len(keys(store)) == 50
    with pytest.raises(StoreClosedError):
        store.submit(lambda c: None).result(1)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "no url", "nosuchdb://x/y", "sqlite:////proc/x/y.db"]
)
def test_a_url_that_cannot_be_used_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        Store(url)
    assert "\n" not in str(error.value)


def test_a_password_in_a_url_is_never_shown() -> None:
    with pytest.raises(ConfigError) as error:
        Store("nosuchdb://user:hush@host/name")
    assert "hush" not in str(error.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, although it is long enough to be read as one" * 50)
    with pytest.raises(ConfigError):
        Store(f"sqlite:///{path}")
    assert path.read_text().startswith("not a database")


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'later.db'}"
    store = Store(url)
    version = meta.update().where(meta.c.key == "schema_version")
    store.submit(lambda c: c.execute(version.values(value="99"))).result(10)
    store.close()
    with pytest.raises(ConfigError, match="another version"):
        Store(url)


def test_a_store_can_be_started_again(store: Store) -> None:
    store.close()
    store.start()
    store.submit(writing("again")).result(10)
    assert keys(store) == {"again"}
    store.close()


def test_two_servers_on_one_store_never_share_a_number(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    one, two = Store(url), Store(url)
    promises = [store.submit(drawing(store)) for _ in range(40) for store in (one, two)]
    drawn = [promise.result(10) for promise in promises]
    assert sorted(drawn) == list(range(1, 81))
    one.close()
    two.close()
