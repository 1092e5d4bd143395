"""The journal's tables and the steps from one version of them to the next.

Amounts and shares are text, exact in every database. Times named ``_ms`` are the exchange's or wall milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    inspect,
    select,
)

from ..errors import JournalError

VERSION = 4


class ExactDecimal(TypeDecorator[Decimal]):
    """A `Decimal` as plain text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> str | None:
        return None if value is None else format(value, "f")

    def process_result_value(self, value: str | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value)


class ExactFraction(TypeDecorator[Fraction]):
    """A `Fraction` as ``numerator/denominator``."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Fraction | None, dialect: Any) -> str | None:
        return None if value is None else f"{value.numerator}/{value.denominator}"

    def process_result_value(self, value: str | None, dialect: Any) -> Fraction | None:
        if value is None:
            return None
        numerator, _, denominator = value.partition("/")  # many times faster than Fraction's own reading of text
        return Fraction(int(numerator), int(denominator))


metadata = MetaData()
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only in an INTEGER key

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

frames = Table(
    "frames",
    metadata,
    Column("id", Id, primary_key=True),
    # Two connections deliver the same event: the second copy dies on this key.
    Column("dedupe_key", Text, unique=True),
    Column("leader", Text, nullable=False),  # exchange/environment/uid
    Column("connection", Text, nullable=False),
    Column("received_wall_ms", BigInteger, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("event", JSON, nullable=False),
    Column("raw", Text, nullable=False),
    Index("frames_by_time", "leader", "received_wall_ms"),
)

# Each time in which the leader may not have been heard. What was found in it are the leader orders that name it.
gaps = Table(
    "gaps",
    metadata,
    Column("id", Id, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("env", Text, nullable=False),
    Column("leader_uid", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),  # exchange time up to which all had been heard
    Column("to_ms", BigInteger),  # exchange time from which all was heard again
    Column("reason_kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", Text, nullable=False, default=""),  # a `GapOutcome`; empty: it is not closed
    Column("unexplained", JSON, nullable=False, default=dict),  # by asset: what its orders do not explain
    Index("open_gaps", "outcome"),
)

leader_orders = Table(
    "leader_orders",
    metadata,
    Column("id", Id, primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("env", Text, nullable=False),
    Column("leader_uid", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    # Order ids restart when a test network is reset: the creation time is part of the identity.
    Column("created_ms", BigInteger, nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("filled_base", ExactDecimal, nullable=False),
    Column("filled_quote", ExactDecimal, nullable=False),
    Column("transaction_ms", BigInteger, nullable=False),
    Column("heard_wall_ms", BigInteger, nullable=False),
    Column("heard_exchange_ms", BigInteger),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason_kind", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("balance_asset", Text, nullable=False, default=""),
    Column("balance_before", ExactDecimal),
    Column("balance_how", Text, nullable=False, default=""),
    Column("estimates", JSON, nullable=False, default=dict),
    Column("share", ExactFraction),
    Column("gap_id", ForeignKey("gaps.id")),  # the gap that it was found in
    Index("leader_orders_by_gap", "gap_id"),
    UniqueConstraint("exchange", "env", "leader_uid", "symbol", "order_id", "created_ms", name="leader_order_once"),
)

copies = Table(
    "copies",
    metadata,
    Column("id", Text, primary_key=True),  # the 20 characters that its client order ids carry
    Column("leader_order_id", ForeignKey("leader_orders.id"), nullable=False),
    Column("account_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False, default=1),  # above 1: a person asked for it to be copied now
    Column("account_name", Text, nullable=False),
    Column("exchange", Text, nullable=False),
    Column("env", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason_kind", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("size_asset", Text, nullable=False),
    Column("free_before", ExactDecimal),
    Column("balance_age_ms", BigInteger),
    Column("balance_source", Text, nullable=False, default=""),
    Column("computed", ExactFraction),
    Column("step", ExactDecimal),
    Column("sent", ExactDecimal),
    Column("filled_base", ExactDecimal, nullable=False, default=Decimal(0)),
    Column("filled_quote", ExactDecimal, nullable=False, default=Decimal(0)),
    Column("commissions", JSON, nullable=False, default=dict),
    Column("client_order_id", Text, nullable=False, default=""),
    Column("exchange_order_id", Text, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("latency_ms", JSON, nullable=False, default=dict),
    Column("asked_by", Text, nullable=False, default=""),
    Column("decided_by", Text, nullable=False, default=""),  # who decided what becomes of it after it had failed
    Column("updated_wall_ms", BigInteger, nullable=False),
    UniqueConstraint("leader_order_id", "account_id", "ordinal", name="one_copy_per_follower"),
    Index("copies_by_account", "account_id", "leader_order_id"),
    # Counts and newest rows of a state, without a look at the rows themselves: there may be millions.
    Index("copies_by_state", "state", "leader_order_id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("copy_id", ForeignKey("copies.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("client_order_id", Text, nullable=False, unique=True),
    Column("body", JSON, nullable=False),  # unsigned: no signature is ever stored
    Column("key_fingerprint", Text, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("recv_window_ms", BigInteger, nullable=False),
    Column("fence_ms", BigInteger, nullable=False),
    Column("claimed_wall_ms", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False, default=""),  # empty: claimed, and nothing heard since
    Column("answer", Text, nullable=False, default=""),
    Column("exchange_order_id", Text, nullable=False, default=""),
)

fills = Table(
    "fills",
    metadata,
    Column("id", Id, primary_key=True),
    Column("copy_id", ForeignKey("copies.id"), nullable=False),
    Column("trade_id", Text, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("base_quantity", ExactDecimal, nullable=False),
    Column("quote_amount", ExactDecimal, nullable=False),
    Column("commission", ExactDecimal, nullable=False),
    Column("commission_asset", Text, nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    UniqueConstraint("copy_id", "trade_id", name="fill_once"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", Id, primary_key=True),
    Column("copy_id", ForeignKey("copies.id"), nullable=False),
    Column("wall_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Index("evidence_by_copy", "copy_id"),
)

feed = Table(
    "feed",
    metadata,
    Column("seq", Id, primary_key=True),
    Column("wall_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("data", JSON, nullable=False, default=dict),
)

# --- from version to version: frozen, whatever becomes of the tables above -------------------------------------------

_COPIES_OF_VERSION_2 = """
CREATE TABLE copies_new (
    id TEXT NOT NULL,
    leader_order_id INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    account_name TEXT NOT NULL,
    exchange TEXT NOT NULL,
    env TEXT NOT NULL,
    side TEXT NOT NULL,
    state TEXT NOT NULL,
    reason_kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    size_asset TEXT NOT NULL,
    free_before TEXT,
    balance_age_ms BIGINT,
    balance_source TEXT NOT NULL,
    computed TEXT,
    step TEXT,
    sent TEXT,
    filled_base TEXT NOT NULL,
    filled_quote TEXT NOT NULL,
    commissions JSON NOT NULL,
    client_order_id TEXT NOT NULL,
    exchange_order_id TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    latency_ms JSON NOT NULL,
    asked_by TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    updated_wall_ms BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT one_copy_per_follower UNIQUE (leader_order_id, account_id, ordinal),
    FOREIGN KEY(leader_order_id) REFERENCES leader_orders (id)
)
"""


def _let_people_decide(connection: Connection) -> None:
    """Version 2: copies that take a failed one's place, and who decided. Early journals lack both and say 1, too."""
    columns = {column["name"] for column in inspect(connection).get_columns("copies")}
    if "ordinal" in columns:
        return
    if connection.dialect.name != "sqlite":
        for statement in (
            "ALTER TABLE copies ADD COLUMN ordinal INTEGER NOT NULL DEFAULT 1",
            "ALTER TABLE copies ADD COLUMN decided_by TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE copies DROP CONSTRAINT one_copy_per_follower",
            "ALTER TABLE copies ADD CONSTRAINT one_copy_per_follower UNIQUE (leader_order_id, account_id, ordinal)",
        ):
            connection.exec_driver_sql(statement)
        return
    # SQLite cannot change a constraint: the table is written anew, and takes the old one's place and name.
    connection.exec_driver_sql(_COPIES_OF_VERSION_2)
    kept = ", ".join(sorted(columns))
    connection.exec_driver_sql(f"INSERT INTO copies_new ({kept}, ordinal, decided_by) SELECT {kept}, 1, '' FROM copies")
    connection.exec_driver_sql("DROP TABLE copies")
    connection.exec_driver_sql("ALTER TABLE copies_new RENAME TO copies")
    connection.exec_driver_sql("CREATE INDEX copies_by_account ON copies (account_id, leader_order_id)")
    connection.exec_driver_sql("CREATE INDEX copies_by_state ON copies (state)")


_GAPS_OF_VERSION_3 = """
CREATE TABLE gaps (
    id {number} NOT NULL,
    exchange TEXT NOT NULL,
    env TEXT NOT NULL,
    leader_uid TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT,
    reason_kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL,
    unexplained JSON NOT NULL,
    PRIMARY KEY (id)
)
"""


def _journal_gaps(connection: Connection) -> None:
    """Version 3: each gap in hearing the leader, and which orders were found in it."""
    is_sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql(_GAPS_OF_VERSION_3.format(number="INTEGER" if is_sqlite else "BIGSERIAL"))
    connection.exec_driver_sql("CREATE INDEX open_gaps ON gaps (outcome)")
    number = "INTEGER" if is_sqlite else "BIGINT"
    connection.exec_driver_sql(f"ALTER TABLE leader_orders ADD COLUMN gap_id {number} REFERENCES gaps (id)")
    connection.exec_driver_sql("CREATE INDEX leader_orders_by_gap ON leader_orders (gap_id)")


def _order_states_by_age(connection: Connection) -> None:
    """Version 4: the copies of a state are indexed by their leader order."""
    connection.exec_driver_sql("DROP INDEX copies_by_state")
    connection.exec_driver_sql("CREATE INDEX copies_by_state ON copies (state, leader_order_id)")


# The step at index i brings version i + 1 to version i + 2, inside one transaction, without foreign keys being held.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_let_people_decide, _journal_gaps, _order_states_by_age)


def prepare(connection: Connection) -> None:
    """Create the tables in an empty database, or bring an older one up to `VERSION`.

    In SQLite foreign keys must not be enforced meanwhile: a table that others refer to may be written anew. What they
    refer to is checked afterwards.

    :raises JournalError: the database was written by a newer program, or is not ours.
    """
    if not inspect(connection).has_table("meta"):
        if inspect(connection).get_table_names():
            raise JournalError("the database holds tables but no journal of copytrade; name an empty one")
        metadata.create_all(connection)
        connection.execute(meta.insert().values(key="schema_version", value=str(VERSION)))
        return
    stored = connection.execute(select(meta.c.value).where(meta.c.key == "schema_version")).scalar()
    version = int(stored) if stored and stored.isdecimal() else 0
    if version > VERSION:
        raise JournalError(
            f"the journal was written by a newer copytrade (its version {version}, ours {VERSION}); install that one"
        )
    if version < 1:
        raise JournalError("the journal does not say its version; restore it from a backup")
    for step in MIGRATIONS[version - 1 :]:
        step(connection)
    if version < VERSION and connection.dialect.name == "sqlite":
        astray = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if astray is not None:
            raise JournalError(
                f"the journal could not be brought up to date: rows of {astray[0]} have lost their owner"
            )
    connection.execute(meta.update().where(meta.c.key == "schema_version").values(value=str(VERSION)))
