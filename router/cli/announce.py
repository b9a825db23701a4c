"""What a running service tells the person, or the program, that started it."""

import errno
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict

from collector.config import CollectorConfig
from router.cli.output import Screen
from router.config import GatewayConfig
from router.listen import Address
from router.supervise import Event, exit_words

ROLES_SHOWN = 12
CHANNELS = 2  # stdout and stderr


class Announcer:
    """Turns events into lines: on stdout what was asked for, on stderr what went wrong."""

    def __init__(
        self,
        screen: Screen,
        *,
        gateway: GatewayConfig | None,
        collector: CollectorConfig | None,
        roles: Sequence[str],
        forget: Callable[[int], None],
    ) -> None:
        """``gateway`` and ``collector`` are those that run here; ``forget`` takes a dead pid."""
        self._screen = screen
        self._gateway = gateway
        self._collector = collector
        self._roles = roles
        self._forget = forget
        self._said: str | None = None  # the fault told last; a crash loop repeats itself

    def tell(self, event: Event) -> None:
        """Show one event; a service outlives its readers, but not the terminal it was started in.

        A terminal that closes sends SIGHUP, which otherwise means reload: the two are told apart
        by the terminal refusing to be written.
        """
        for _ in range(CHANNELS):  # when one has failed, the other may still be read
            try:
                self._show(event)
            except OSError as error:
                if error.errno == errno.EIO:
                    signal.raise_signal(signal.SIGTERM)
            else:
                return

    def _show(self, event: Event) -> None:
        if event.kind == "ready":
            self._ready()
            return
        self._screen.result({"event": event.kind, **_known(event)})
        if event.kind == "exited":
            self._exited(event)
        elif event.kind == "draining":
            self._screen.note(f"{event.message}: finishing what is in flight (again: stop at once)")
        elif event.kind == "killed":
            self._screen.note(f"{event.name} did not end in time and was killed", style="bold red")
        elif event.kind == "reloading":
            self._screen.note("SIGHUP: both files are read again")

    def _ready(self) -> None:
        addresses = {}
        if self._gateway is not None:
            addresses["gateway"] = _url(self._gateway.listen)
        if self._collector is not None:
            addresses["console"] = _url(self._collector.console)
            addresses["otlp_http"] = _url(self._collector.otlp_http)
            addresses["otlp_grpc"] = _url(self._collector.otlp_grpc)
        self._screen.result({"event": "ready", "addresses": addresses, "roles": self._roles})
        self._screen.say("tierwise is ready", style="bold green")
        for name, address in addresses.items():
            self._screen.say(f"  {name.replace('_', ' '):<10} {address}")
        if self._gateway is not None:
            self._invite(addresses["gateway"])

    def _invite(self, url: str) -> None:
        """Say what to set in an agent."""
        shown = ", ".join(self._roles[:ROLES_SHOWN])
        more = len(self._roles) - ROLES_SHOWN
        self._screen.say(f"  {'roles':<10} {shown}{f' and {more} more' if more > 0 else ''}")
        self._screen.say("Point an agent at it:")
        self._screen.say(f"  OPENAI_BASE_URL={url}/v1      model tierwise/<role>")
        self._screen.say(f"  ANTHROPIC_BASE_URL={url}   model claude-tierwise-<role>")

    def _exited(self, event: Event) -> None:
        if event.pid is not None:
            self._forget(event.pid)
        words = f"{event.name} ended with {exit_words(event.exit_code)}"
        if event.message and event.message != self._said:
            self._said = event.message
            words = f"{words}: {event.message}"
        self._screen.note(f"{words}; starting it again in {event.wait_seconds:.1f} s", style="red")


def _url(listen: str) -> str:
    return Address.parse(listen, where="listen").url


def _known(event: Event) -> dict[str, object]:
    return {
        key: value
        for key, value in asdict(event).items()
        if key != "kind" and value not in (None, "")
    }
