"""What the workers of one gateway tell each other: what sessions, plans and conversations came to.

A word is sent at once and never waited for. One for which a worker has no room is lost; it then
knows what it would know alone, which costs a failed check or one escalation too many.
"""

import asyncio
import contextlib
from typing import Final

import msgspec

from router.line import Line, hang_up
from router.sessions import Memory, Word

WORD_BYTES_MAX: Final = 8_192
HEARD_AT_ONCE_MAX: Final = 64  # then the loop gets its turn


class Siblings:
    """One worker's talk with the others; without a line it has none."""

    def __init__(self, line: Line | None, memory: Memory) -> None:
        self.memory = memory
        self._line = line
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Word)

    async def start(self) -> None:
        """Hear the others, and tell them, until ``close``."""
        if self._line is not None:
            asyncio.get_running_loop().add_reader(self._line.inbox, self._hear, self._line)
            self.memory.tell = self._tell

    async def close(self) -> None:
        """Give back the sockets; safe to call twice."""
        line, self._line, self.memory.tell = self._line, None, None
        if line is not None:
            asyncio.get_running_loop().remove_reader(line.inbox)
            hang_up([line])

    def _tell(self, word: Word) -> None:
        content = self._encoder.encode(word)
        for other in self._line.others if self._line is not None else ():
            with contextlib.suppress(OSError):  # no room
                other.send(content)

    def _hear(self, line: Line) -> None:
        for _ in range(HEARD_AT_ONCE_MAX):
            try:
                content = line.inbox.recv(WORD_BYTES_MAX)
            except OSError:
                return  # nothing more for now
            with contextlib.suppress(msgspec.MsgspecError):
                self.memory.hear(self._decoder.decode(content))
