"""What a command writes: words for people, or JSON on stdout and nothing beside it."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.table import Table

from router.cli.fitted import fitted, narrowest

PLAIN_WIDTH = 200  # of tables where no terminal says otherwise


class _Console(Console):
    """A console that leaves a broken pipe to its caller instead of ending the process."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads any more")


@contextlib.contextmanager
def _writing(stream: TextIO) -> Iterator[None]:
    """Point ``stream`` at nothing when it can no longer be written, and raise the first time."""
    try:
        yield
    except OSError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
        raise


def console(stream: TextIO) -> Console:
    """Return a console on ``stream``: plain when it is no terminal or NO_COLOR is set."""
    terminal = stream.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return _Console(
        file=stream,
        force_terminal=terminal,
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        width=None if terminal else PLAIN_WIDTH,
    )


def utc(at_ns: int) -> str:
    """Return a unix time in nanoseconds as people read it.

    >>> utc(1_750_000_000_000_000_000)
    '2025-06-15 15:06:40 UTC'
    """
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Screen:
    """A command's two channels; ``json`` decides which of them stdout carries.

    A channel that nobody reads any more raises ``OSError`` once and is silent afterwards.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._out = console(sys.stdout)
        self._err = console(sys.stderr)

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Write a line for people on stdout; under --json it is left out."""
        if not self.json:
            with _writing(sys.stdout):
                self._out.print(text, style=style, soft_wrap=True)

    def show(self, what: RenderableType, *, keys: int = 1) -> None:
        """Write a table or panel for people on stdout; under --json it is left out.

        A table too wide for the terminal is written in parts, each with its first ``keys`` columns.
        """
        if not self.json:
            parts = fitted(what, on=self._out, keys=keys) if isinstance(what, Table) else [what]
            with _writing(sys.stdout):
                for number, part in enumerate(parts):
                    self._out.print(*([""] if number else []), part, sep="\n")

    def fits(self, table: Table) -> bool:
        """Say whether no word of ``table`` would be cut on stdout."""
        return narrowest(table, on=self._out) <= self._out.width

    def note(self, text: str, *, style: str | None = None) -> None:
        """Write a line for people on stderr, where it never disturbs a pipe."""
        with _writing(sys.stderr):
            self._err.print(text, style=style, soft_wrap=True)

    def result(self, value: Any) -> None:
        """Write ``value`` as one line of JSON on stdout, under --json only."""
        if self.json:
            with _writing(sys.stdout):
                sys.stdout.write(json.dumps(value, default=str) + "\n")
                sys.stdout.flush()

    def fault(self, message: str, *, hint: str = "") -> None:
        """Write an error with its remedy: to stderr, and as JSON on stdout under --json."""
        self.note(f"error: {message}", style="bold red")
        if hint:
            self.note(f"  next: {hint}")
        self.result({"error": {"message": message, "hint": hint or None}})
