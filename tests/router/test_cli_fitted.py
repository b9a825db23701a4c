"""Tables on terminals of 80 columns: no word is cut."""

import io

import pytest
from rich import box
from rich.console import Console
from rich.table import Table

from router.cli.fitted import fitted, narrowest
from router.demo.spend import RoleQuality, Spend, quality_table, spend_table

FIGURES = [f"$0.{number}05845" for number in range(10, 22)]


def wide(*, names: tuple[str, ...] = ("role", "tier")) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in (*names, *(f"figure {number}" for number in range(len(FIGURES)))):
        table.add_column(name, justify="right")
    table.add_row("field_extractor", "frontier", *FIGURES, style="bold")
    return table


def shown(table: Table, *, width: int, keys: int) -> tuple[int, str]:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    parts = fitted(table, on=console, keys=keys)
    for part in parts:
        console.print(part)
    return len(parts), out.getvalue()


def test_a_table_that_fits_is_left_as_it_is() -> None:
    table = wide()
    console = Console(width=200)
    assert fitted(table, on=console) == [table]
    assert narrowest(table, on=console) <= 200


@pytest.mark.parametrize("width", [40, 80, 100])
def test_every_figure_stands_once_and_whole_and_every_part_says_whose_it_is(width: int) -> None:
    count, text = shown(wide(), width=width, keys=2)
    assert count > 1
    assert "…" not in text
    assert [text.count(figure) for figure in FIGURES] == [1] * len(FIGURES)
    assert text.count("field_extractor") == text.count("frontier") == count
    assert max(map(len, text.splitlines())) <= width


def test_lines_and_title_go_along_and_the_title_stands_once() -> None:
    table = wide()
    table.box, table.title = box.SIMPLE_HEAD, "Spend"
    table.add_section()
    table.add_row("all", "", *FIGURES)
    count, text = shown(table, width=60, keys=2)
    assert text.count("Spend") == 1
    assert text.count("all") == count


def test_one_column_too_wide_for_itself_is_written_all_the_same() -> None:
    table = Table(box=None)
    table.add_column("key")
    table.add_column("value")
    table.add_row("k", "v" * 90)
    parts = fitted(table, on=Console(width=80))
    assert [len(part.columns) for part in parts] == [2]


def test_words_are_wrapped_where_they_may_be_and_figures_beside_them_stay_whole() -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("role", "steps of it", "cost of all its escalations", "why"):
        table.add_column(name)
    table.add_row("summariser", "1,234,567", "$0.0123456", "because no other tier would do " * 3)
    count, text = shown(table, width=60, keys=1)
    assert count == 1
    for word in ("summariser", "1,234,567", "$0.0123456", "because", "escalations"):
        assert word in text


def test_the_spend_table_fits_into_eighty_columns_and_no_part_cuts_a_figure() -> None:
    spent = Spend(
        role="field_extractor", tier="frontier", calls=326, input_tokens=291_859,
        output_tokens=9_694, cost_usd=0.20417, steps_right=260, steps_judged=275,
    )  # fmt: skip
    checked = RoleQuality(
        role="field_extractor", steps=275, first_passed=200, escalations=17, abstained=34,
        first_right=243, right=260, first_cost_usd=0.1, cost_usd=0.204,
    )  # fmt: skip
    out = io.StringIO()
    narrow = Console(file=out, width=80, color_system=None)
    (spend,) = fitted(spend_table([spent]), on=narrow, keys=2)
    for part in (spend, *fitted(quality_table([checked]), on=narrow)):
        narrow.print(part)
    for figure in ("291,859", "$0.204170", "260/275", "$0.104000"):
        assert figure in out.getvalue()
    assert "…" not in out.getvalue()
