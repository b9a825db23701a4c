"""The command line: one file per command, each thin over the rooms that do the work."""


def main() -> int:
    """Run the command line on this process's arguments; return its exit code.

    Imports happen here because a child process imports this module to find its way, and must not
    pay for the command line.
    """
    from router.cli.app import run  # noqa: PLC0415 - see above

    return run()
