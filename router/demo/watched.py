"""``python -m router.demo.watched``: the command line, ended when whoever started it is gone."""

import os
import signal
import sys
import threading

from router.cli import main


def _end_with_stdin() -> None:
    """Wait for the end of stdin, which comes however the starter ends; then end in order."""
    # The descriptor itself: a buffered reader would hold its lock while Python shuts down.
    while os.read(0, 4_096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.exit(main())
