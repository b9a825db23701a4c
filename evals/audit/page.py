"""The report as one HTML file that needs nothing else: no script, no font, no network."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from evals.audit.sections import Section

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d5dae1; --bg: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #9aa4b0; --line: #363d46; --bg: #15181c; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--bg);
  max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.first p { font-size: 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
ul { color: var(--soft); padding-left: 1.1rem; font-size: .9rem; }
"""


def page(sections: Sequence[Section], *, title: str) -> str:
    """Return the whole page; all foreign text is escaped."""
    body = "\n".join(line for n, s in enumerate(sections) for line in _section(s, first=n == 0))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section, *, first: bool) -> Iterator[str]:
    yield '<section class="first">' if first else "<section>"
    yield f"<h2>{escape(section.title)}</h2>"
    for line in section.lines:
        yield f"<p>{escape(line)}</p>"
    if section.rows:
        yield '<div class="wide"><table>'
        yield f"<thead><tr>{_cells(section.header, 'th', words=section.words)}</tr></thead>"
        yield "<tbody>"
        for row in section.rows:
            yield f"<tr>{_cells(row, 'td', words=section.words)}</tr>"
        yield "</tbody></table></div>"
    if section.notes:
        yield f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in section.notes)}</ul>"
    yield "</section>"


def _cells(cells: Sequence[str], tag: str, *, words: int) -> str:
    scope = ' scope="col"' if tag == "th" else ""
    number = ' class="n"'
    return "".join(
        f"<{tag}{scope}{'' if n < words else number}>{escape(cell)}</{tag}>"
        for n, cell in enumerate(cells)
    )
