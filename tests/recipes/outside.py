"""A proxy that lets nothing through and remembers who tried: programs under test stay at home."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Outside:
    """The world beyond this machine, as a program under test finds it: closed."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.port = 0

    @property
    def variables(self) -> dict[str, str]:
        """What makes programs turn here with everything that is not on this machine."""
        address = f"http://127.0.0.1:{self.port}"
        names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
        local = {name: "127.0.0.1,localhost" for name in ("NO_PROXY", "no_proxy")}
        return {name: address for name in names} | local


@contextmanager
def outside() -> Iterator[Outside]:
    """Run the proxy for as long as the block lasts."""
    world = Outside()

    class Handler(http.server.BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            # Who wants a proxy names a host; a bare path is meant for a server that stood at this
            # port before.
            if self.command == "CONNECT" or not self.path.startswith("/"):
                world.tried.append(f"{self.command} {self.path}")
            self.send_error(403)

        do_CONNECT = do_GET = do_POST = do_HEAD = _refuse

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        world.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield world
        finally:
            server.shutdown()
            thread.join()
