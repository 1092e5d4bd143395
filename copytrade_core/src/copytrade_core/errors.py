"""Every error, by the one question that matters: what may the engine do next?

| error                | was the order processed?        | so the engine                                    |
|----------------------|---------------------------------|--------------------------------------------------|
| NotSent              | no, provably                    | may send it once more                            |
| RateLimited          | no, the exchange says so        | waits ``retry_after_sec``, may send once more    |
| ClockSkewed          | no                              | measures the clock, may send once more           |
| OrderRejected        | no, the exchange said so        | tells the user; no retry                         |
| AuthenticationFailed | no                              | disables the account until a person acts         |
| OutcomeUnknown       | nobody knows                    | never resends; asks by client order id           |
| StreamInterrupted    | does not apply                  | reconnects, then reads what it missed            |

In doubt it is OutcomeUnknown. ``kind`` is a word that never changes (it keys the translated sentence);
``code`` is the exchange's own; the message is one English sentence without secrets and says what was found.
"""

from __future__ import annotations


class CopytradeError(Exception):
    """The root of all errors that this project raises on purpose."""

    kind = "error"

    def __init__(self, message: str, *, kind: str | None = None, exchange: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        if kind is not None:
            self.kind = kind
        self.exchange = exchange
        self.code = code


class ExchangeError(CopytradeError):
    """Something between us and an exchange; the subclasses below say what."""


class NotSent(ExchangeError):
    """The request provably never reached the exchange.

    Of an order that had passed the gate it is believed only with a ``code``, where the exchange itself said so.
    ``retry`` is False where a second try would be wrong although nothing left: a bad certificate (an
    attack, perhaps), or a gate that was shut by a person.
    """

    kind = "not_sent"

    def __init__(
        self, message: str, *, retry: bool = True, kind: str | None = None, exchange: str = "", code: str = ""
    ) -> None:
        super().__init__(message, kind=kind, exchange=exchange, code=code)
        self.retry = retry


class RateLimited(ExchangeError):
    """Refused for sending too much, before the order was looked at.

    ``whole_address``: the limit is of our IP address, so everybody on it must slow down; otherwise it is
    of this account. ``banned``: the exchange shut us out until then; nothing may be sent at all.
    """

    kind = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after_sec: float,
        whole_address: bool,
        banned: bool = False,
        kind: str | None = None,
        exchange: str = "",
        code: str = "",
    ) -> None:
        super().__init__(message, kind=kind, exchange=exchange, code=code)
        self.retry_after_sec = retry_after_sec
        self.whole_address = whole_address
        self.banned = banned


class ClockSkewed(ExchangeError):
    """Our timestamp was outside the exchange's window; the order was not executed."""

    kind = "clock_skewed"


class OrderRejected(ExchangeError):
    """The exchange looked at the order and refused it for good."""

    kind = "rejected"


class InsufficientBalance(OrderRejected):
    kind = "insufficient_balance"


class BelowMinimum(OrderRejected):
    kind = "below_minimum"


class DuplicateOrderId(ExchangeError):
    """An order with this client id is open at the exchange: an earlier attempt exists. Find it; do not send."""

    kind = "duplicate_order_id"


class AuthenticationFailed(ExchangeError):
    """The exchange refused the key, its signature, a permission, the address or the account.

    ``kind`` is one of: ``invalid_key``, ``wrong_secret``, ``wrong_passphrase``, ``wrong_environment``,
    ``no_trade_permission``, ``no_read_permission``, ``ip_not_allowed``, ``account_blocked``, ``can_withdraw``,
    ``can_transfer``, ``region``, ``wrong_account_mode``. ``ours`` marks causes that point at our own
    signing or address when several accounts meet them at once (orders.md section 1).
    """

    kind = "invalid_key"

    def __init__(
        self, message: str, *, kind: str | None = None, exchange: str = "", code: str = "", ours: bool = False
    ) -> None:
        super().__init__(message, kind=kind, exchange=exchange, code=code)
        self.ours = ours


class OutcomeUnknown(ExchangeError):
    """Nobody knows whether the order was executed: a time-out, a reset, a 5xx, an answer we cannot read.

    For a read (a look-up, a balance) it means: no answer, no evidence.
    """

    kind = "outcome_unknown"


class StreamInterrupted(ExchangeError):
    """A user data stream is not (or no longer) delivering."""

    kind = "stream_interrupted"


class PluginError(CopytradeError):
    kind = "plugin"


class PluginLoadFailed(PluginError):
    kind = "plugin_load_failed"


class ExchangeNameTaken(PluginError):
    kind = "exchange_name_taken"


class UnknownExchange(PluginError):
    """No plug-in answers to this exchange, or not in this environment."""

    kind = "unknown_exchange"


class ConfigError(CopytradeError):
    """A setting or a file of settings is wrong; the message names it."""

    kind = "config"


class InvalidRequest(CopytradeError):
    """What was asked cannot be done as asked; ``field`` names the input that is wrong."""

    kind = "invalid"

    def __init__(self, message: str, *, field: str = "", kind: str | None = None) -> None:
        super().__init__(message, kind=kind)
        self.field = field


class NotFound(InvalidRequest):
    kind = "not_found"


class Conflict(InvalidRequest):
    """Somebody changed it first, or what is asked contradicts the present state."""

    kind = "conflict"


class MasterKeyError(CopytradeError):
    """The master key is missing, malformed or not the one this vault was made with. Nothing was changed."""

    kind = "master_key"


class VaultError(CopytradeError):
    """The vault cannot be read or was altered. Nothing was overwritten."""

    kind = "vault"


class JournalError(CopytradeError):
    """The journal cannot be written or was damaged; nothing is sent until it can."""

    kind = "journal"


class AlreadyRunning(CopytradeError):
    """Another engine holds this data directory."""

    kind = "already_running"


class EngineNotRunning(CopytradeError):
    kind = "engine_not_running"


class EngineHalted(CopytradeError):
    """The engine answers but does not trade; the message says why and what would end it."""

    kind = "halted"
