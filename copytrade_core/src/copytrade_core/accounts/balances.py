"""The live balances of all followers, each figure with its age and where it came from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..clock import NS_PER_MS, NS_PER_SEC, Clock
from ..leader.ledger import BalanceLedger, Moment
from ..model import AccountId, BalanceChange, BalanceSnapshot, BalanceSource, Fill, Side, Symbol
from ..views import BalanceView

# A push may be lost: even a quiet account on a live stream is read again after this long.
TRUST_STREAM_SEC = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One free balance as it is known now."""

    free: Decimal
    age_ms: int
    source: BalanceSource


@dataclass(slots=True)
class _Account:
    ledger: BalanceLedger
    confirmed_ns: int = 0  # when the exchange last told us of all its balances, or of some and pushes every change
    stated_ns: dict[str, int] = field(default_factory=dict)  # when it last stated an asset's
    read_ns: int = 0
    stream_since_ns: int | None = None

    @property
    def is_followed(self) -> bool:
        """Whether all was stated since pushes began: only then what a push leaves out is known to be unchanged."""
        return self.stream_since_ns is not None and self.confirmed_ns >= self.stream_since_ns


class BalanceBook:
    """Every follower's free balances: pushed, read, and carried forward by our own fills. Thread-safe."""

    def __init__(
        self, clock: Clock, symbol: Symbol, on_change: Callable[[AccountId], None] = lambda account_id: None
    ) -> None:
        """*on_change* is told whose figures were stated or changed; it only notes it."""
        self._clock = clock
        self._on_change = on_change
        self._tracked = (symbol.quote, symbol.base)
        self._lock = threading.Lock()
        self._accounts: dict[AccountId, _Account] = {}

    def state(self, account_id: AccountId, snapshot: BalanceSnapshot) -> None:
        """Take in what the exchange stated. An older statement than the newest one changes nothing that is shown."""
        now = self._clock.monotonic_ns()
        with self._lock:
            account = self._account(account_id)
            was_read = snapshot.source is BalanceSource.READ
            if account.ledger.state(snapshot):
                account.stated_ns.update((balance.asset, now) for balance in snapshot.balances)
                if was_read or snapshot.complete or account.is_followed:
                    account.confirmed_ns = now
            if was_read:
                account.read_ns = now
        self._on_change(account_id)

    def change(self, account_id: AccountId, change: BalanceChange) -> None:
        """Take in a deposit, a withdrawal or a lock by another product."""
        key = f"change:{change.asset}:{change.time_ms}:{change.free_delta}"
        with self._lock:
            self._account(account_id).ledger.change(key, Moment(change.time_ms), {change.asset: change.free_delta})
        self._on_change(account_id)

    def fills(self, account_id: AccountId, order_id: str, side: Side, symbol: Symbol, fills: Iterable[Fill]) -> None:
        """Carry the balances forward by an order's fills, until the exchange states figures that hold them."""
        with self._lock:
            ledger = self._account(account_id).ledger
            for fill in fills:
                deltas = fill_deltas(side, symbol, fill)
                ledger.change(f"fill:{order_id}:{fill.trade_id}", Moment(fill.time_ms), deltas)
        self._on_change(account_id)

    def stream(self, account_id: AccountId, is_up: bool) -> None:
        """Note that pushes of this account are (or are no longer) being delivered."""
        with self._lock:
            self._account(account_id).stream_since_ns = self._clock.monotonic_ns() if is_up else None
        self._on_change(account_id)

    def figure(self, account_id: AccountId, asset: str) -> Figure | None:
        """Return what is known of one free balance; ``None``: nothing."""
        with self._lock:
            account = self._accounts.get(account_id)
            free = account.ledger.free(asset) if account else None
            if account is None or free is None:
                return None
            return self._figure(account, asset, free)

    def newest_ms(self, account_id: AccountId) -> int:
        """Return the latest stamp (exchange time) of what is known of an account's balances; 0: nothing is."""
        with self._lock:
            account = self._accounts.get(account_id)
            return account.ledger.newest_ms() if account else 0

    def needs_reading(self, account_id: AccountId, max_age_sec: float) -> bool:
        """Whether an order of this account must read first: its figures are old and no live stream vouches for them."""
        now = self._clock.monotonic_ns()
        with self._lock:
            account = self._accounts.get(account_id)
            if account is None or not account.confirmed_ns:
                return True
            age_sec = (now - account.confirmed_ns) / NS_PER_SEC
            if age_sec <= max_age_sec:
                return False
            up_since = account.stream_since_ns
            vouched = up_since is not None and up_since <= account.confirmed_ns and age_sec <= TRUST_STREAM_SEC
            return not vouched

    def is_doubtful(self, account_id: AccountId, asset: str) -> bool:
        """Whether a figure may count a fill twice, as spent and as frozen for it: read before it is used."""
        with self._lock:
            account = self._accounts.get(account_id)
            return account is not None and account.ledger.is_doubtful(asset)

    def read_ns(self, account_id: AccountId) -> int:
        """Return when the account was last read (monotonic); 0 for never."""
        with self._lock:
            account = self._accounts.get(account_id)
            return account.read_ns if account else 0

    def is_pushed(self, account_id: AccountId) -> bool:
        return self.pushed_since_ns(account_id) is not None

    def pushed_since_ns(self, account_id: AccountId) -> int | None:
        """Return since when (monotonic) an account's pushes are being delivered; ``None``: they are not."""
        with self._lock:
            account = self._accounts.get(account_id)
            return account.stream_since_ns if account else None

    def is_known(self, account_id: AccountId) -> bool:
        """Whether the exchange has ever stated this account's balances."""
        with self._lock:
            account = self._accounts.get(account_id)
            return account is not None and account.confirmed_ns > 0

    def views(self, account_id: AccountId) -> tuple[BalanceView, ...]:
        with self._lock:
            account = self._accounts.get(account_id)
            if account is None:
                return ()
            found: list[BalanceView] = []
            for asset in self._tracked:
                free = account.ledger.free(asset)
                newest = account.ledger.newest(asset)
                if free is None or newest is None:
                    continue
                figure = self._figure(account, asset, free)
                found.append(
                    BalanceView(
                        asset=asset,
                        free=figure.free,
                        locked=newest.locked,
                        age_sec=round(figure.age_ms / 1000, 1),
                        source=figure.source.value,
                    )
                )
            return tuple(found)

    def begin_anew(self, account_id: AccountId) -> None:
        """Forget an account's figures: its exchange's clock was put back, and they have no order with later ones."""
        with self._lock:
            account = self._accounts.get(account_id)
            if account is not None:
                account.ledger, account.confirmed_ns, account.read_ns = BalanceLedger(*self._tracked), 0, 0
        self._on_change(account_id)

    def forget(self, account_id: AccountId) -> None:
        with self._lock:
            self._accounts.pop(account_id, None)

    def _account(self, account_id: AccountId) -> _Account:
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = _Account(BalanceLedger(*self._tracked))
        return account

    def _figure(self, account: _Account, asset: str, free: Decimal) -> Figure:
        newest = account.ledger.newest(asset)
        assert newest is not None
        source = BalanceSource.FILLS if account.ledger.has_deltas_after_newest(asset) else newest.source
        stated_ns = max(account.confirmed_ns, account.stated_ns.get(asset, 0))
        age_ms = (self._clock.monotonic_ns() - stated_ns) // NS_PER_MS
        return Figure(free=free, age_ms=age_ms, source=source)


def fill_deltas(side: Side, symbol: Symbol, fill: Fill) -> Mapping[str, Decimal]:
    """Return what one fill of a market order did to the free balances, its commission included."""
    sign = 1 if side is Side.BUY else -1
    deltas = {symbol.base: sign * fill.base_quantity, symbol.quote: -sign * fill.quote_amount}
    if fill.commission:
        deltas[fill.commission_asset] = deltas.get(fill.commission_asset, Decimal(0)) - fill.commission
    return deltas
