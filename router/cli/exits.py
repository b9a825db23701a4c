"""The exit codes of every command; docs/cli.md prints this table."""

from typing import Final

OK: Final = 0
WRONG: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

MEANINGS: Final[dict[int, str]] = {
    OK: "all is well; for `serve`, `gateway` and `collector`: ended on SIGTERM, all steps finished",
    WRONG: "something is wrong: a check failed, a process would not start or had to be killed",
    USAGE: "the command or a file is wrong; the message names the place and the remedy",
    INTERRUPTED: "interrupted with Ctrl-C",
}
