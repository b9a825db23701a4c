"""The report as Markdown."""

from collections.abc import Iterator, Sequence

from evals.audit.sections import Section


def markdown(sections: Sequence[Section], *, title: str) -> str:
    """Return the whole page."""
    return "\n".join([f"# {title}", "", *(line for s in sections for line in _section(s))])


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    for line in section.lines:
        yield escaped(line)
        yield ""
    if section.rows:
        yield _row(section.header)
        marks = ["---" if n < section.words else "---:" for n in range(len(section.header))]
        yield f"|{'|'.join(marks)}|"
        for row in section.rows:
            yield _row(row)
        yield ""
    for note in section.notes:
        yield f"- {escaped(note)}"
    if section.notes:
        yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escaped(cell) for cell in cells)} |"


def escaped(text: str) -> str:
    r"""Return foreign text as text: nothing in it becomes a table, a link or markup.

    >>> escaped("a|b [x](y) <b>")
    'a\\|b \\[x\\](y) &lt;b>'
    """
    for mark in ("\\", "|", "[", "]", "*", "`"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.replace("<", "&lt;").split())
