"""What happened, durably, before anything acts on it.

One writer thread owns the only writing connection. Work is handed to it as functions; all that wait are run in one
transaction and committed (and synced) together, so that a burst costs one sync. A function that fails is rolled
back alone. When a commit fails the journal is broken for good: nothing can be written, so nothing may be sent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ..errors import JournalError
from . import schema

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Connection], T]

LINGER_SEC = 0.03
GROUP_LIMIT = 500  # functions in one transaction
QUEUE_LIMIT = 20_000


Piece = tuple[Work[Any], "Future[Any]"]


class _PieceFailed(Exception):
    """One piece of a group failed."""


class Journal:
    """The writer thread, and read-only connections for everybody else."""

    def __init__(self, url: str, on_broken: Callable[[JournalError], None]) -> None:
        """Open the database at *url*, create or migrate its tables, take ownership, start the writer.

        :param on_broken: called once, from the writer's thread, when writing has become impossible.
        :raises JournalError: damaged, newer than this program, unreadable, or locked by another program.
        """
        self._on_broken = on_broken
        self._queue: queue.Queue[tuple[Work[Any], Future[Any]] | None] = queue.Queue(QUEUE_LIMIT)
        self._urgent = threading.Event()
        self._broken: JournalError | None = None
        self._closed = False
        self._close_lock = threading.Lock()
        self._is_sqlite = url.startswith("sqlite")
        self._engine = self._connect(url, read_only=False)
        self._readers = self._connect(url, read_only=True)
        self._epoch = self._take_over()
        self._file = _file_of(self._engine.url.database) if self._is_sqlite else None
        self._last_write_sec = 0.0
        self._thread = threading.Thread(target=self._write, name="journal-writer", daemon=True)
        self._thread.start()

    @classmethod
    def in_data_dir(
        cls, data_dir: Path, database_url: str | None, on_broken: Callable[[JournalError], None]
    ) -> Journal:
        """Open the journal of *data_dir*: ``journal.db`` there, or the database that the settings name."""
        if database_url:
            return cls(database_url, on_broken)
        path = data_dir / "journal.db"
        if not path.exists():
            # Made by us, so that the file is private before the first byte of history is in it.
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        return cls(f"sqlite:///{path}", on_broken)

    @property
    def waiting(self) -> int:
        """How many pieces of work wait to be written."""
        return self._queue.qsize()

    @property
    def last_write_sec(self) -> float:
        """How long the newest transaction took, its sync included."""
        return self._last_write_sec

    @property
    def broken(self) -> JournalError | None:
        return self._broken

    def submit(self, work: Work[T], *, urgent: bool = False) -> Future[T]:
        """Queue *work*; the future is done when its transaction is on disk. It must not be cancelled.

        *work* does nothing but use its connection: when another piece of the group fails it is run once more.

        What is not urgent lingers a few milliseconds, so that the answers of a burst share one transaction and do
        not take processor time from the orders that are still leaving.

        The future raises `JournalError` when writing failed, or what *work* itself raised.
        """
        future: Future[T] = Future()
        with self._close_lock:
            if self._broken is not None or self._closed:
                future.set_exception(self._broken or JournalError("the journal is closed"))
                return future
            try:
                self._queue.put_nowait((work, future))
                if urgent:
                    self._urgent.set()
                return future
            except queue.Full:
                pass
        # A writer that is thousands of transactions behind is as good as broken; what is left out here never comes.
        self._break(JournalError("the journal cannot keep up; is the disk slow, or full?"))
        future.set_exception(self._broken)
        return future

    def write(self, work: Work[T], timeout_sec: float = 10) -> T:
        """Run *work* in a transaction and return its result when it is on disk."""
        try:
            return self.submit(work, urgent=True).result(timeout_sec)
        except TimeoutError:
            # What is queued may still reach the disk, or not: nothing may be concluded from here on.
            self._break(JournalError("the journal did not answer; is the disk blocked, or the file locked?"))
            assert self._broken is not None
            raise self._broken from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees what was committed. :raises JournalError: the database cannot be read."""
        try:
            with self._readers.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise JournalError(f"the journal cannot be read: {type(error).__name__}") from error

    def close(self) -> None:
        """Write what waits, stop the writer, join it."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        self._urgent.set()
        self._queue.put(None)
        self._thread.join()
        self._engine.dispose()
        self._readers.dispose()

    # --- inside ---

    def _connect(self, url: str, *, read_only: bool) -> Engine:
        if not self._is_sqlite:
            return create_engine(url, pool_pre_ping=True)
        engine = create_engine(url, poolclass=NullPool if not read_only else None, connect_args={"timeout": 5})

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _: Any) -> None:
            connection.isolation_level = None  # transactions are begun by the listener below
            if not read_only:
                # Counts only for a file that is still empty, so before WAL writes its first page; see `retention`.
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
                connection.execute(f"PRAGMA {pragma}")
            if read_only:
                connection.execute("PRAGMA query_only=ON")

        @event.listens_for(engine, "begin")
        def on_begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

        return engine

    def _take_over(self) -> str:
        """Check the file, bring its tables up to date, and make every earlier owner's writes fail."""
        try:
            with self._engine.connect() as connection, _without_foreign_keys(connection), connection.begin():
                if self._is_sqlite:
                    found = connection.execute(text("PRAGMA quick_check(1)")).scalar()
                    if found != "ok":
                        raise JournalError("the journal is damaged; restore it from a backup before trading")
                schema.prepare(connection)
                table = schema.meta
                last = connection.execute(select(table.c.value).where(table.c.key == "owner_epoch")).scalar()
                epoch = str(int(last or 0) + 1)
                if last is None:
                    connection.execute(table.insert().values(key="owner_epoch", value=epoch))
                else:
                    connection.execute(table.update().where(table.c.key == "owner_epoch").values(value=epoch))
                return epoch
        except UnicodeDecodeError:
            # SQLite names what is damaged, and the name is damaged, too.
            raise JournalError("the journal is damaged; restore it from a backup before trading") from None
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", "") or type(error).__name__)
            raise JournalError(
                f"the journal cannot be opened ({cause}); check the disk, the file's rights, and that no other "
                "program holds it"
            ) from error

    def _write(self) -> None:
        try:
            with self._engine.connect() as connection:
                while True:
                    group, ends = self._next_group()
                    if group:
                        self._commit(connection, group)
                    if ends:
                        return
        except BaseException as error:  # a dead writer must not pass for a slow one
            log.exception("the journal's writer died")
            self._break(JournalError(f"the journal's writer failed: {type(error).__name__}"))

    def _next_group(self) -> tuple[list[tuple[Work[Any], Future[Any]]], bool]:
        group: list[tuple[Work[Any], Future[Any]]] = []
        item = self._queue.get()
        if item is not None:
            self._urgent.wait(LINGER_SEC)
        self._urgent.clear()  # whatever set it is in the queue already
        while True:
            if item is None:
                return group, True
            group.append(item)
            if len(group) == GROUP_LIMIT:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False

    def _commit(self, connection: Connection, group: Sequence[Piece]) -> None:
        began = time.monotonic()
        try:
            if self._broken is not None:
                raise self._broken
            try:
                results = self._run_group(connection, group, contextlib.nullcontext)
            except _PieceFailed:
                # Rare: a duplicate, a refusal. All of it was rolled back; now each piece has a savepoint of its own.
                results = self._run_group(connection, group, connection.begin_nested)
        except Exception as error:  # a failed commit or sync: what the file holds is not known any more
            broken = self._broken or JournalError(f"the journal cannot be written: {type(error).__name__}: {error}")
            for _, future in group:
                future.set_exception(broken)
            self._break(broken)
            return
        self._last_write_sec = time.monotonic() - began
        for future, result, failure in results:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _run_group(
        self, connection: Connection, group: Sequence[Piece], guard: Callable[[], AbstractContextManager[Any]]
    ) -> list[tuple[Future[Any], Any, Exception | None]]:
        """Run all pieces in one transaction, each inside *guard*.

        :raises _PieceFailed: a piece failed that no savepoint guards; everything was rolled back.
        """
        results: list[tuple[Future[Any], Any, Exception | None]] = []
        with connection.begin():
            self._check_ownership(connection)
            for work, future in group:
                try:
                    with guard():
                        results.append((future, work(connection), None))
                except Exception as error:
                    if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
                        raise  # the disk or the file: it is not this piece alone that cannot be written
                    if guard is contextlib.nullcontext:
                        raise _PieceFailed from error
                    results.append((future, None, error))
        return results

    def _break(self, broken: JournalError) -> None:
        with self._close_lock:
            is_first = self._broken is None
            self._broken = self._broken or broken
        if is_first:
            self._on_broken(broken)

    def _check_ownership(self, connection: Connection) -> None:
        table = schema.meta
        # Locked where the database allows several writers, so that a takeover waits for this transaction.
        row = select(table.c.value).where(table.c.key == "owner_epoch").with_for_update()
        epoch = connection.execute(row).scalar()
        if epoch != self._epoch:
            raise JournalError("another engine has taken this journal over")
        if self._file is not None and _file_of(self._engine.url.database) != self._file:
            # What is written from now on would be in a file without a name, and gone with this process.
            raise JournalError("the journal's file was moved or another put in its place while the engine ran")


def _file_of(path: str | None) -> tuple[int, int] | None:
    """Return which file *path* names now; ``None``: none."""
    try:
        found = Path(path or "").stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """Not hold foreign keys on this SQLite connection, which is thrown away afterwards: for `schema.prepare`."""
    if connection.dialect.name == "sqlite":
        # Not through SQLAlchemy, which would begin a transaction: inside of one the pragma does nothing.
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF").close()
    yield
