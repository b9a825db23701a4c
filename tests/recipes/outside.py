"""A proxy that lets nothing through and remembers who tried: programs under test stay at home."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.httpd import Quiet, listening


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

    class Handler(Quiet):
        def _refuse(self) -> None:
            # Who wants a proxy names a host; a bare path is meant for a server that stood at this
            # port before.
            if self.command == "CONNECT" or not self.path.startswith("/"):
                world.tried.append(f"{self.command} {self.path}")
            self.send_error(403)

        do_CONNECT = do_GET = do_POST = do_HEAD = _refuse

    with listening(Handler) as world.port:
        yield world
