"""What a supervised process does besides its work: obey its parent alone, and end with it."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from telemetry.errors import ConfigError, TierwiseError

CONFIG_EXIT = 2
KILL_SECONDS = 5.0  # beyond the drain, for a child to end by itself
HELD = (signal.SIGINT, signal.SIGHUP)  # until a starting child has said what it does with them


def be_child(
    run: Callable[..., int],
    arguments: tuple[Any, ...],
    report: "connection.Connection[tuple[str, str], None]",
    drain_seconds: float,
) -> None:
    """Run ``run`` and end the process with the code it returns; never returns itself.

    A ``TierwiseError`` is handed to the parent through ``report`` as message and hint. When the
    parent dies, however it does, this process gets SIGTERM, and SIGKILL once the drain is over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it listens for it itself
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    threading.Thread(target=_end_with_parent, args=(drain_seconds,), daemon=True).start()
    try:
        code = run(*arguments)
    except TierwiseError as error:
        report.send((error.message, error.hint))
        code = CONFIG_EXIT if isinstance(error, ConfigError) else 1
    report.close()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed and written. Tearing the interpreter down as well takes time from the
    # drain, and makes native libraries report every object that was frozen for the collector.
    os._exit(code)


def _end_with_parent(drain_seconds: float) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(drain_seconds + KILL_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
