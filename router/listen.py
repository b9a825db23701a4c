"""Addresses that processes listen on: parse one, bind it, say who holds it."""

import contextlib
import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from telemetry.errors import ConfigError

BACKLOG = 2_048
HOLDERS_MAX = 10_000  # processes looked at to find the one that holds a port
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A host and a TCP port; port 0 means any free one."""

    host: str  # without the brackets of an IPv6 address
    port: int

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Return ``host:port`` parsed; ``where`` is the key or flag in messages.

        Raises:
            ConfigError: when it is not host:port with a port in 0..65535.

        >>> Address.parse("[::1]:8080", where="--gateway")
        Address(host='::1', port=8080)
        """
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ConfigError(
                f"{where}: {text!r} is not host:port", hint="write it like 127.0.0.1:8080"
            )
        if ":" in host and not bracketed:
            raise ConfigError(
                f"{where}: {text!r}: an IPv6 host stands in brackets",
                hint="write it like [::1]:8080",
            )
        return cls(host=host[1:-1] if bracketed else host, port=int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable(self) -> "Address":
        """The same address as a client on this machine writes it.

        >>> str(Address(host="0.0.0.0", port=8080).reachable)
        '127.0.0.1:8080'
        """
        return Address(host=WILDCARDS.get(self.host, self.host), port=self.port)

    @property
    def url(self) -> str:
        """``http://host:port`` for a client on this machine."""
        return f"http://{self.reachable}"


def bind(address: Address, *, where: str) -> socket.socket:
    """Return a listening socket on ``address``; ``where`` is the key or flag in messages.

    Raises:
        ConfigError: naming the address, who holds it when that can be seen, and what to do.
    """
    family, name = _resolved(address, where=where)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refusal(address, error, where=where) from error
    return sock


def bound(sock: socket.socket, address: Address) -> Address:
    """Return ``address`` with the port that ``sock`` really got."""
    return Address(host=address.host, port=int(sock.getsockname()[1]))


def connects(address: Address, *, timeout_seconds: float) -> bool:
    """Say whether anything accepts a TCP connection at ``address``."""
    target = address.reachable
    try:
        with socket.create_connection((target.host, target.port), timeout=timeout_seconds):
            return True
    except OSError:
        return False


def holder(port: int) -> str | None:
    """Return who listens on ``port`` as "name (pid 123)", or None when that cannot be seen.

    Reads /proc, so it knows only on Linux, and only processes that this user may look at.
    """
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    processes = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    for pid in processes[:HOLDERS_MAX]:
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if any(_link(file) in wanted for file in Path("/proc", pid, "fd").iterdir()):
                return f"{Path('/proc', pid, 'comm').read_text().strip()} (pid {pid})"
    return None


def _link(file: Path) -> str | None:
    try:
        return os.readlink(file)
    except OSError:
        return None  # closed meanwhile


def _resolved(address: Address, *, where: str) -> tuple[int, tuple[str, int]]:
    """Return family and socket name, IPv4 first as clients of `localhost` try it."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"{where}: {address.host!r} is not an address of this machine",
            hint="use 127.0.0.1 for this machine only, 0.0.0.0 for all its addresses",
        ) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, name = found[0][0], found[0][4]
    return family, (str(name[0]), int(name[1]))


def _refusal(address: Address, error: OSError, *, where: str) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        by = holder(address.port)
        return ConfigError(
            f"{where}: {address} is already in use{f' by {by}' if by else ''}",
            hint=f"stop that process, or choose another port with {where}",
        )
    if error.errno == errno.EACCES:
        return ConfigError(
            f"{where}: {address}: this user may not listen there",
            hint="ports below 1024 are for root; choose a higher one",
        )
    return ConfigError(
        f"{where}: cannot listen on {address}: {error.strerror or error}",
        hint="use 127.0.0.1 for this machine only, 0.0.0.0 for all its addresses",
    )


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes
