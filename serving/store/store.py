"""The durable store behind a URL: SQLite now, any SQLAlchemy database by its URL.

One thread writes. A command is a function of a connection; commands run one after another,
so reading and then writing is safe, and one commit covers whatever queued up during the
previous one (group commit). Readers use their own connections and never wait for it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from envs.errors import ConfigError, JourneyError
from serving.store.tables import SCHEMA_VERSION, meta, metadata

T = TypeVar("T")
_MOST_PER_COMMIT = 512
_READERS = 20
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # what is promised survives a power cut
    "busy_timeout=5000",
    "foreign_keys=ON",
    "secure_delete=ON",  # what is erased is overwritten
)
_VERSION = select(meta.c.value).where(meta.c.key == "schema_version")
_SEQ = select(meta.c.value).where(meta.c.key == "seq")
_NEW_SEQ = update(meta).where(meta.c.key == "seq").values(value=bindparam("last"))


class StoreClosedError(JourneyError):
    """The server is stopping: nothing more is written."""


class _Work(Generic[T]):
    """A command and the promise of its result, kept once it is on disk."""

    def __init__(self, command: Callable[[Connection], T]) -> None:
        self.command, self.future = command, Future[T]()
        self.result: T | None = None


class Store:
    """Connections, the writer thread and the running number `seq` of everything learned."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        try:
            metadata.create_all(self._engine)
            with self._engine.connect().execution_options(writer=True) as connection, connection.begin():
                _check_version(connection)
        except SQLAlchemyError as error:
            raise ConfigError(f"store cannot be opened: {_reason(error)}", where=_shown(url)) from None
        self._queue: queue.Queue[_Work[Any] | None] = queue.Queue()
        self._seq = 0
        self._open, self._lock = False, threading.Lock()
        self.start()

    def start(self) -> None:
        """Start the writer unless it runs: an application may be started again after its end."""
        with self._lock:
            if not self._open:
                self._open = True
                self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
                self._thread.start()

    def next_seq(self) -> int:
        """The next running number; only commands may draw one."""
        self._seq += 1
        return self._seq

    def submit(self, command: Callable[[Connection], T]) -> Future[T]:
        """Queue a command; its result is there once the transaction is durable."""
        work = _Work(command)
        with self._lock:
            if self.alive:
                self._queue.put(work)
            else:
                work.future.set_exception(StoreClosedError("the store is closed"))
        return work.future

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for reading."""
        with self._engine.connect() as connection:
            yield connection

    @property
    def alive(self) -> bool:
        """False once the writer is told to stop, or has died."""
        return self._open and self._thread.is_alive()

    @property
    def queued(self) -> int:
        """Commands that wait for the writer."""
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what is queued, then stop."""
        with self._lock:
            if self._open:
                self._open = False
                self._queue.put(None)
        self._thread.join(timeout=30)
        self._engine.dispose()

    def _write(self) -> None:
        with self._engine.connect().execution_options(writer=True) as connection:
            while (first := self._queue.get()) is not None:
                batch: list[_Work[Any]] = [first]
                while len(batch) < _MOST_PER_COMMIT and not self._queue.empty():
                    if (work := self._queue.get()) is None:
                        self._queue.put(None)  # the last thing in the queue: stop after this batch
                        break
                    batch.append(work)
                self._commit_together(connection, batch)

    def _commit_together(self, connection: Connection, batch: list[_Work[Any]]) -> None:
        """Run each command in a savepoint of one transaction; promises are kept after the commit."""
        done: list[_Work[Any]] = []
        try:
            with connection.begin():
                # read under the write lock, so that two servers on one store never share a number
                before = self._seq = int(connection.scalar(_SEQ.with_for_update()) or 0)
                for work in batch:
                    if work.future.set_running_or_notify_cancel() and _attempt(connection, work):
                        done.append(work)
                if self._seq > before:
                    connection.execute(_NEW_SEQ, {"last": str(self._seq)})
        except Exception as error:  # the commit failed: nothing of this batch is on disk
            for work in batch:
                if not work.future.done():
                    work.future.set_exception(error)
            return
        for work in done:
            work.future.set_result(work.result)


def _attempt(connection: Connection, work: _Work[Any]) -> bool:
    """Whether the command succeeded; a failure is its own and must not stop the others."""
    try:
        with connection.begin_nested():
            work.result = work.command(connection)
    except Exception as error:
        work.future.set_exception(error)
        return False
    return True


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """A connection to a store that exists, beside whatever serves from it."""
    engine = _engine(url)
    path = engine.url.database
    if engine.dialect.name == "sqlite" and not Path(path or "").is_file():
        raise ConfigError("no such store", where=_shown(url), hint="`journey serve` makes one")
    try:
        with engine.connect() as connection:
            if connection.scalar(_VERSION) != SCHEMA_VERSION:
                raise ConfigError("store of another version", where=_shown(url), expected=SCHEMA_VERSION)
            yield connection
    except SQLAlchemyError as error:
        raise ConfigError(f"store cannot be read: {_reason(error)}", where=_shown(url)) from None
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigError(
                    "a store in memory is lost on exit", where=_shown(url), expected="sqlite:///FILE"
                )
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_size=_READERS, max_overflow=_READERS)
    except (ArgumentError, NoSuchModuleError, ImportError, OSError) as error:
        raise ConfigError(
            f"store URL cannot be used: {_reason(error)}",
            where=_shown(url),
            expected="such as sqlite:///journey.db",
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, savepoints work
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writer = connection.get_execution_options().get("writer")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def _check_version(connection: Connection) -> None:
    found = connection.scalar(_VERSION)
    if found is None:
        connection.execute(insert(meta).values(key="schema_version", value=SCHEMA_VERSION))
        connection.execute(insert(meta).values(key="seq", value="0"))
    elif found != SCHEMA_VERSION:
        raise ConfigError("store of another version", got=found, expected=SCHEMA_VERSION)


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url.rsplit("@", 1)[-1]
