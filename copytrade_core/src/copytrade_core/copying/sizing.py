"""The sums of copying: pure, exact, rounded once, down."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from fractions import Fraction

from ..model import Side, SymbolRules

ALL = Fraction(999, 1000)  # a sale of this share and more left only dust: the leader sold everything
# The ambient context rounds a product half-even to 28 digits: up, as often as not.
EXACT = Context(prec=1000, rounding=ROUND_DOWN)


def share_of(amount: Decimal, balance_before: Decimal) -> Fraction | None:
    """Return *amount* as a share of *balance_before*; ``None`` where that is no share (not in (0, 1])."""
    if amount <= 0 or balance_before <= 0 or amount > balance_before:
        return None
    return Fraction(amount) / Fraction(balance_before)


def copied_share(share: Fraction, side: Side) -> Fraction:
    """Return the share that followers copy: a sale of all but dust counts as all."""
    return Fraction(1) if side is Side.SELL and share >= ALL else share


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One follower's sum: what came out exactly, and what can be sent."""

    computed: Fraction
    step: Decimal
    sendable: Decimal  # computed, rounded down to the step; zero is "too small to copy", not an error


def follower_size(share: Fraction, free: Decimal, rules: SymbolRules, side: Side) -> Size:
    """Return how much a follower trades: quote for a BUY, base for a SELL, of its own *free* balance.

    Rounded down to the exchange's step, so that no follower ever takes on more than the share allows.
    """
    step = rules.quote_step if side is Side.BUY else rules.base_step
    computed = share * Fraction(max(free, Decimal(0)))
    # Whole steps by integer division: quantize() knows only powers of ten, and steps of 0.005 or 5 exist.
    steps = computed // Fraction(step)
    return Size(computed=computed, step=step, sendable=EXACT.multiply(Decimal(steps), step))
