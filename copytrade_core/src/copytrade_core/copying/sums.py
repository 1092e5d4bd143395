"""One follower's sum from its live figures: what is sent, and what a person is shown before asking for a copy."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ..accounts.balances import Figure
from ..model import Side, SymbolRules
from .sizing import Size, follower_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What went into a size, what came out, and why that is not sent, if so."""

    figure: Figure
    size: Size
    refusal: tuple[str, str] | None  # kind and sentence

    @property
    def inputs(self) -> dict[str, Any]:
        """Return the inputs of the sum as a copy's row keeps them."""
        return {
            "free_before": self.figure.free,
            "balance_age_ms": self.figure.age_ms,
            "balance_source": self.figure.source.value,
            "computed": self.size.computed,
            "step": self.size.step,
        }


def sum_of(share: Fraction, side: Side, figure: Figure, rules: SymbolRules, *, check_minimums: bool) -> Sum:
    """Return one follower's sum, and whether it can be sent."""
    size = follower_size(share, figure.free, rules, side)
    refusal = _too_small(size.sendable, side, rules, check_minimums)
    if refusal is None and not rules.is_trading:
        refusal = "symbol_closed", "the exchange has closed this symbol for trading"
    return Sum(figure=figure, size=size, refusal=refusal)


def _too_small(sendable: Decimal, side: Side, rules: SymbolRules, check_minimums: bool) -> tuple[str, str] | None:
    if sendable <= 0:
        return "too_small", "the share of the free balance rounds down to nothing"
    minimum = rules.min_notional if side is Side.BUY else rules.min_base
    if check_minimums and sendable < minimum:
        return "below_minimum", f"the amount is below the exchange's minimum of {format(minimum, 'f')}"
    return None
