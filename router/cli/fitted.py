"""Tables on narrow terminals: what does not fit beside each other goes below."""

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDE = 10_000  # wider than any terminal: what a table wants is measured without its limit


def narrowest(table: Table, *, on: Console) -> int:
    """Return the columns of text that ``table`` needs for none of its words to be cut."""
    return _wants(table, on=on).minimum


def fitted(table: Table, *, on: Console, keys: int = 1) -> list[Table]:
    """Return ``table``, or several that follow each other, so that no word of it is cut.

    Each has the first ``keys`` columns and as many of the others as ``on`` has room for, one at
    least, in their order.
    """
    if _wants(table, on=on).maximum <= on.width:
        return [table]
    blocks: list[Table] = []
    first = list(range(keys))
    chosen = list(first)
    for at in range(keys, len(table.columns)):
        if len(chosen) > keys and narrowest(_with(table, [*chosen, at]), on=on) > on.width:
            blocks.append(_with(table, chosen))
            chosen = list(first)
        chosen.append(at)
    blocks.append(_with(table, chosen))
    for later in blocks[1:]:
        later.title = None
    for block in blocks:
        _spread(block, on=on)
    return blocks


def _spread(table: Table, *, on: Console) -> None:
    """Fix the widths of the columns, which rich would else narrow to less than their words."""
    room = on.width - narrowest(table, on=on)
    if room < 0:
        return
    for at, column in enumerate(table.columns):
        alone = _with(table, [at])
        alone.box, alone.padding, alone.pad_edge = None, 0, False
        wants = _wants(alone, on=on)
        more = min(room, wants.maximum - wants.minimum)
        column.width = wants.minimum + more
        room -= more


def _wants(table: Table, *, on: Console) -> Measurement:
    return Measurement.get(on, on.options.update(width=_WIDE), table)


def _with(table: Table, columns: Sequence[int]) -> Table:
    """Return ``table`` with only these of its columns."""
    made = Table(
        title=table.title,
        title_justify=table.title_justify,
        box=table.box,
        padding=table.padding,
        pad_edge=table.pad_edge,
        show_header=table.show_header,
        header_style=table.header_style,
    )
    for at in columns:
        column = table.columns[at]
        made.add_column(
            column.header,
            justify=column.justify,
            style=column.style,
            overflow=column.overflow,
            no_wrap=column.no_wrap,
        )
    cells = [list(table.columns[at].cells) for at in columns]
    for row, *texts in zip(table.rows, *cells, strict=True):
        made.add_row(*texts, style=row.style, end_section=row.end_section)
    return made
