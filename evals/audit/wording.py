"""Numbers and foreign names as the report words them."""

from typing import Final

NAME_CHARS_MAX: Final = 60


def usd(amount: float | None) -> str:
    """Return dollars with as many digits as tell something; a dash for what is unknown.

    >>> usd(1234.5), usd(0.0123456), usd(-2), usd(0), usd(None)
    ('$1,234.50', '$0.01235', '-$2.00', '$0.00', '-')
    """
    if amount is None:
        return "-"
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    return f"{sign}${size:,.2f}" if size >= 1 or size == 0 else f"{sign}${size:.4g}"


def share(part: float | None) -> str:
    """Return a percentage; a dash for what is unknown.

    >>> share(0.1234), share(None), share(0.0001), share(0.9999)
    ('12.3 %', '-', '0.01 %', '99.99 %')
    """
    if part is None:
        return "-"
    fine = 0 < part < 0.001 or 0.999 < part < 1
    return f"{part * 100:.2f} %" if fine else f"{part * 100:.1f} %"


def short(name: str) -> str:
    """Return a foreign name fit for a table: one line, of bounded length."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= NAME_CHARS_MAX else name[: NAME_CHARS_MAX - 3] + "..."


def count(number: int | None, noun: str = "") -> str:
    """Return a number, with its noun in the right number; a dash for what is unknown.

    >>> count(1_000, "call"), count(1, "task"), count(None)
    ('1,000 calls', '1 task', '-')
    """
    if number is None:
        return "-"
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if noun else f"{number:,}"
