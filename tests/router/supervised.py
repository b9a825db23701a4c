"""A supervised service for tests: children that phone home, so that a test sees them live and die.

``python -m tests.router.supervised PORT MODE ...`` runs one child for each MODE and writes each
event as a line of JSON. A child calls 127.0.0.1:PORT, says who it is, and holds the line while it
lives; what it hears there it obeys.
"""

import json
import os
import random
import signal
import socket
import sys
from pathlib import Path

from router.supervise import Child, Event, Supervisor
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError, TierwiseError

DRAIN_SECONDS = 20.0


def phone(port: int, name: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port))
    said = {"name": name, "pid": os.getpid(), "variable": os.environ.get("FOR_ONE_CHILD")}
    line.sendall(json.dumps(said).encode() + b"\n")
    return line


def obey(port: int, name: str) -> int:
    """Live until SIGTERM, then end at once; tell of each SIGHUP; end with 3 when told `crash`."""
    line = phone(port, name)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, lambda *_: line.sendall(b"hup\n"))
    line.sendall(b"listening\n")
    line.recv(100)
    return 3


def finish(port: int, name: str) -> int:
    """On SIGTERM say so, and end only when told to."""
    line = phone(port, name)
    signal.signal(signal.SIGTERM, lambda *_: line.sendall(b"term\n"))
    line.sendall(b"listening\n")
    line.recv(100)
    return 0


def refuse(port: int, name: str) -> int:
    phone(port, name).close()
    raise ConfigError("policy.toml: roles.x: no such tier", hint="add it to the ladder")


def crash(port: int, name: str) -> int:
    phone(port, name).close()
    return 3


MODES = {"obey": obey, "finish": finish, "refuse": refuse, "crash": crash}


def main() -> int:
    port, *modes = sys.argv[1:]
    children = []
    for spelt in modes:
        mode, _, more = spelt.partition(":")
        children.append(
            Child(
                name=mode if not more else f"{mode}-{more}",
                run=MODES[mode],
                arguments=(int(port), mode),
                essential=more != "spare",
                environment={"FOR_ONE_CHILD": "yes"} if more == "variable" else {},
                drain_seconds=DRAIN_SECONDS,
            )
        )
    ready = Path(os.environ["READY"])

    def tell(event: Event) -> None:
        line = {"kind": event.kind, "name": event.name, "pid": event.pid}
        line |= {"exit_code": event.exit_code, "message": event.message}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    supervisor = Supervisor(
        children, ready=ready.exists, tell=tell, clock=SystemClock(), rng=random.Random(1)
    )
    try:
        return supervisor.run()
    except ConfigError as error:
        sys.stderr.write(f"config: {error}\n")
        return 2
    except TierwiseError as error:
        sys.stderr.write(f"start: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
