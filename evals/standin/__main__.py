"""``python -m evals.standin``: serve one stand-in until it is told to stop."""

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from evals.standin.running import serving
from evals.standin.server import StandinConfig

PORT_MAX = 65_535


def main() -> None:
    """Serve; the first line of stdout is JSON with the port."""
    parser = argparse.ArgumentParser(prog="python -m evals.standin", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=7, help="decides which answers are right")
    parser.add_argument("--pace", type=float, default=0.0, help="1: as the table says; 0: no waits")
    parser.add_argument("--key", action="append", default=[], help="a key to accept; default any")
    parser.add_argument("--until-stdin-ends", action="store_true", help="stop when stdin is closed")
    options = parser.parse_args()
    if not 0 <= options.port <= PORT_MAX:  # uvloop would take it modulo 65,536
        parser.error(f"--port {options.port} is not from 0 to {PORT_MAX}")
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - absent on Windows

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        asyncio.run(_serve(options))
    except OSError as error:
        parser.exit(1, f"standin: {options.host}:{options.port}: {error.strerror or error}\n")


async def _serve(options: argparse.Namespace) -> None:
    config = StandinConfig(seed=options.seed, pace=options.pace, keys=frozenset(options.key))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
    if options.until_stdin_ends:
        # A child must outlive a Ctrl-C that its starter still wants to report on.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, lambda: None)
        await loop.connect_read_pipe(lambda: _Stdin(stop), sys.stdin)
    async with serving(config, host=options.host, port=options.port) as served:
        line = {"port": served.port, "base_url": served.base_url, "origin": served.origin}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stop.wait()


class _Stdin(asyncio.Protocol):
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def eof_received(self) -> None:
        self._stop.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop.set()


if __name__ == "__main__":
    main()
