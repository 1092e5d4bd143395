"""A journal from a backup knows less than the exchanges: nothing is traded before a person has seen what it lacks.

`store.archive.restore` marks the journal. At start every follower's exchange is asked for orders of ours that are
newer than the journal's newest attempt. Where it has some, or could not be asked, the engine stays halted until a
person has reconciled it. A vault that is older than the journal remembers it is treated alike.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from ..accounts.others import tag_of
from ..accounts.service import AccountService, Follower
from ..clock import Clock, wall_text
from ..errors import Conflict, CopytradeError, RateLimited
from ..exchanges import Exchanges
from ..feed import Feed
from ..halts import Halts
from ..model import AccountId, OrderReport
from ..store import book as rows
from ..store.journal import Journal
from ..store.vault import Vault
from ..views import MissingOrder, RestoredView
from ..workers import OnDeath, Ticker

HALT_KIND = "restored"
ENDS_WHEN = "a person's `copytrade reconcile`"
ASK_AGAIN_SEC = 15.0
MARGIN_MS = 60_000
WRITES_AHEAD = 2  # the vault is written first: a kill may have come before the journal noted it
NOTHING_SENT_MARGIN_MS = 24 * 3_600_000  # for a backup's own date, which is this machine's and not the exchange's


class Reconciler:
    """Owns the halt ``restored``, and the thread (``reconciler``) that asks the exchanges. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal,
        vault: Vault,
        accounts: AccountService,
        exchanges: Exchanges,
        halts: Halts,
        feed: Feed,
        on_death: OnDeath,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._vault = vault
        self._tag = vault.install_tag
        self._accounts = accounts
        self._exchanges = exchanges
        self._halts = halts
        self._feed = feed
        self._lock = threading.Lock()  # guards what follows; never held over I/O
        self._mark: dict[str, Any] | None = None
        self._missing: dict[AccountId, tuple[MissingOrder, ...]] = {}  # of every account that was asked
        self._not_asked: dict[AccountId, str] = {}
        self._went_round = False
        self._stopping = False
        self._ticker = Ticker("reconciler", clock, on_death, self._round)
        self._started = False

    @property
    def was_restored(self) -> bool:
        """Whether this journal was ever put back: it may lack what was sent."""
        return self._mark is not None

    def begin(self) -> None:
        """Look at journal and vault, before anything can leave; halt if one of them was put back."""
        revision = self._vault.revision
        with self._journal.reading() as connection:
            mark = rows.recall(connection, rows.RESTORED)
            stored = rows.recall(connection, rows.VAULT_REVISION)
            has_sent = rows.newest_attempt_ms(connection) is not None
        seen = int(stored or 0)
        self._mark = json.loads(mark) if mark else None
        if revision < seen:
            self._open({"vault": [revision, seen]})
        elif stored is None and (self._vault.accounts() or self._vault.leader()):
            early = "the journal is of an early version, which does not say whether it is as new as the vault"
            self._open({"journal": early if has_sent else "the vault knows accounts, but their journal is gone"})
        elif stored is not None and revision > seen + WRITES_AHEAD:
            self._open({"journal": "an older journal was put back: the vault has changed since"})
        self._vault.on_write = self._remember_revision
        self._remember_revision(max(revision, seen))
        if self._is_open:
            self._halts.begin(HALT_KIND, self._reason(), ENDS_WHEN)
            if self._vault.copying:
                # What people have stopped since the backup is not known either: somebody has to start it.
                self._vault.set_copying(False, self._vault.copying_since_ms)

    def suspect(self, why: str) -> None:
        """The journal turned out to lack something that was sent: halt, and ask for what else it lacks."""
        with self._lock:
            if self._is_open:
                return
            self._open({"journal": f"the journal lacks what was sent: {why}"})
            self._missing, self._not_asked, self._went_round = {}, {}, False
        self._halts.begin(HALT_KIND, self._reason(), ENDS_WHEN)
        self.start()
        self._ticker.wake()  # it may rest after an earlier reconciliation

    def _open(self, why: dict[str, Any]) -> None:
        self._mark = {**(self._mark or {}), **why, "restored_wall_ms": self._clock.wall_ms(), "open": True}
        text = json.dumps(self._mark)
        self._journal.submit(lambda connection: rows.remember(connection, rows.RESTORED, text))

    def start(self) -> None:
        """Begin to ask the exchanges, where there is something to ask for."""
        if self._is_open and not self._started:
            self._started = True
            self._ticker.start()

    def stop(self) -> None:
        self._stopping = True
        if self._started:
            self._ticker.stop()

    def view(self) -> RestoredView | None:
        """Return what is known by now; ``None``: nothing was restored, or it was reconciled."""
        with self._lock:
            if not self._is_open:
                return None
            assert self._mark is not None
            return RestoredView(
                reason=self._reason(),
                backup_made=wall_text(self._mark["made_wall_ms"]) if "made_wall_ms" in self._mark else "",
                restored=wall_text(self._mark["restored_wall_ms"]),
                asking=not self._went_round,
                orders=tuple(order for found in self._missing.values() for order in found),
                not_asked={self._name(account_id): why for account_id, why in self._not_asked.items()},
            )

    def end(self, by: str) -> RestoredView:
        """Record that *by* has seen it all, and end the halt. :raises Conflict: there is nothing to see, or not yet."""
        seen = self.view()
        if seen is None:
            raise Conflict("nothing was restored here, or it was reconciled before", kind="not_restored")
        if seen.asking:
            raise Conflict("the exchanges are still being asked; see again in a moment", kind="still_asking")
        self._close(by)
        return seen

    # --- inside ---

    @property
    def _is_open(self) -> bool:
        return self._mark is not None and bool(self._mark["open"])

    def _remember_revision(self, revision: int) -> None:
        """On the thread that wrote the vault: only enqueues."""
        self._journal.submit(lambda connection: rows.remember(connection, rows.VAULT_REVISION, str(revision)))

    def _reason(self) -> str:
        mark = self._mark or {}
        parts = []
        if "made_wall_ms" in mark:
            parts.append(f"the journal was restored from a backup of {wall_text(mark['made_wall_ms'])}")
        if "journal" in mark:
            parts.append(mark["journal"])
        if "vault" in mark:
            found, seen = mark["vault"]
            parts.append(
                f"an older vault was put back (revision {found}, the journal has seen {seen}): "
                "accounts, keys and pauses may not be the latest"
            )
        count = sum(map(len, self._missing.values()))
        if count:
            names = ", ".join(sorted(self._name(account_id) for account_id, found in self._missing.items() if found))
            parts.append(f"the exchanges show {count} orders of ours that it does not know ({names})")
        if self._not_asked:
            parts.append(f"{len(self._not_asked)} accounts could not be asked for orders that it may not know")
        elif not self._went_round:
            parts.append("the exchanges are being asked for orders that it may not know")
        return "; ".join(parts)

    def _name(self, account_id: AccountId) -> str:
        follower = self._accounts.get(account_id)
        return follower.record.name if follower else account_id

    def _round(self) -> float:
        """Ask every account that has not answered yet."""
        if not self._is_open:
            return 3600.0
        wait_sec = ASK_AGAIN_SEC
        since_ms = self._since_ms()
        for record in self._vault.accounts():
            if self._stopping:
                return 3600.0
            if record.id in self._missing:
                continue
            why = ""
            try:
                missing = self._ask(self._accounts.find(record.id), since_ms)
            except CopytradeError as error:
                why = error.message
                if isinstance(error, RateLimited):
                    wait_sec = min(max(error.retry_after_sec, 1.0), ASK_AGAIN_SEC)
            except Exception as error:  # a plug-in's bug is no answer
                why = f"the connector failed with {type(error).__name__}"
            with self._lock:
                if why:
                    self._not_asked[record.id] = why
                else:
                    self._not_asked.pop(record.id, None)
                    self._missing[record.id] = missing
        self._judge()
        return wait_sec if self._not_asked else 3600.0

    def _since_ms(self) -> int:
        with self._journal.reading() as connection:
            newest_ms = rows.newest_attempt_ms(connection)
        if newest_ms is not None:
            return newest_ms - MARGIN_MS
        assert self._mark is not None
        return int(self._mark.get("made_wall_ms", self._mark["restored_wall_ms"])) - NOTHING_SENT_MARGIN_MS

    def _ask(self, follower: Follower, since_ms: int) -> tuple[MissingOrder, ...]:
        self._exchanges.ready(follower.opened)
        reports = follower.connector.list_orders(since_ms)
        for report in reports:
            self._accounts.met(follower.id, report.client_order_id, report.created_ms)
        ours = [report for report in reports if tag_of(report.client_order_id) == self._tag]
        with self._journal.reading() as connection:
            known = rows.known_client_ids(connection, [report.client_order_id for report in ours])
        return tuple(_missing(follower, report) for report in ours if report.client_order_id not in known)

    def _judge(self) -> None:
        with self._lock:
            if not self._is_open:
                return  # a person was faster
            self._went_round = True
            assert self._mark is not None
            is_complete = not any(self._missing.values()) and not self._not_asked and "vault" not in self._mark
            reason = self._reason()
        if is_complete:
            self._close("")
        else:
            self._halts.restate(HALT_KIND, reason)

    def _close(self, by: str) -> None:
        with self._lock:
            orders = [order for found in self._missing.values() for order in found]
            left = sorted(self._name(account_id) for account_id in self._not_asked)
            assert self._mark is not None
            closed = {**self._mark, "open": False, "by": by, "reconciled_wall_ms": self._clock.wall_ms()}
            closed.pop("vault", None)
            closed.pop("journal", None)
        revision = str(self._vault.revision)

        def write(connection: Connection) -> None:
            rows.remember(connection, rows.RESTORED, json.dumps(closed))
            rows.remember(connection, rows.VAULT_REVISION, revision)

        self._journal.write(write)
        with self._lock:
            self._mark = closed
        text = f"what was restored was reconciled by {by}; copying starts with `copytrade copy start`"
        if not by:
            text = (
                "the restored journal lacks no order that an exchange shows; copying starts with `copytrade copy start`"
            )
        what = "reconciled" if by else "nothing_missing"
        self._feed.publish("engine", text, what=what, by=by, orders=_named(orders), not_asked=left)
        self._halts.end(HALT_KIND)


def _missing(follower: Follower, report: OrderReport) -> MissingOrder:
    return MissingOrder(
        account_id=follower.id,
        account_name=follower.record.name,
        exchange=follower.record.exchange,
        env=follower.record.environment,
        client_order_id=report.client_order_id,
        exchange_order_id=report.exchange_order_id,
        side=report.side,
        status=report.status.value,
        filled_base=report.filled_base,
        filled_quote=report.filled_quote,
        created=wall_text(report.created_ms),
    )


def _named(orders: Sequence[MissingOrder]) -> list[dict[str, str]]:
    return [
        {
            "account_id": order.account_id,
            "client_order_id": order.client_order_id,
            "exchange_order_id": order.exchange_order_id,
        }
        for order in orders
    ]
