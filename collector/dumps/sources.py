"""Files as pieces of bounded size, whatever their format; a file is never read whole.

Only a single JSON document (one object over many lines) must fit ``DOCUMENT_BYTES_MAX``.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec

from collector.dumps.pieces import Piece

PIECE_BYTES: Final = 1_048_576
DOCUMENT_BYTES_MAX: Final = 134_217_728  # also of a single line and of a single request
LIMIT: Final = "128 MiB"
REMEDY: Final = "write one object a line, as the OpenTelemetry Collector does (jq -c helps)"
BLOCK_BYTES: Final = 262_144
HEAD_BYTES: Final = 65_536
FILES_MAX: Final = 10_000
UNEVEN: Final = "a row with more or fewer values than its header: cut off, or unquoted commas"
_CSV_FIELD_CHARS: Final = 16_777_216


class Form(StrEnum):
    """How a file is written."""

    LINES = "lines"  # one JSON value a line
    DOCUMENT = "document"  # one JSON value
    PROTO = "proto"  # OTLP protobuf: one request, or many with their lengths before them
    CSV = "csv"
    PARQUET = "parquet"
    STORE = "store"  # the collector's DuckDB file
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something of a file that could not be read."""

    where: str
    reason: str


def files_of(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder and those below, sorted by name."""
    if not path.is_dir():
        return [path]
    found = (file for file in sorted(path.rglob("*")) if file.is_file())
    return [file for file, _ in zip(found, range(FILES_MAX), strict=False)]


def form_of(path: Path) -> Form:
    """Return how a file is written, from its first bytes."""
    with open_plain(path) as file:
        patient = _Patient(file)
        head = patient.read(HEAD_BYTES)
    if not head.strip():
        return Form.EMPTY if patient.fault is None else Form.LINES
    if head.startswith(b"PAR1"):
        return Form.PARQUET
    if head[8:12] == b"DUCK":
        return Form.STORE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        line, end, _ = text.partition(b"\n")
        return Form.LINES if _whole(line, cut=not end) else Form.DOCUMENT
    return Form.CSV if _is_csv(head) else Form.PROTO


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Open a file, decompressed when it is gzip."""
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield file


def pieces(path: Path, form: Form, *, read: Callable[[int], None]) -> Iterator[Piece | Fault]:
    """Yield a file's pieces; ``read`` hears how far into the file on disk each of them reaches."""
    split = {Form.LINES: _lines, Form.DOCUMENT: _document, Form.PROTO: _requests}[form]
    with open_plain(path) as file:
        patient = _Patient(file)
        for piece in split(patient, str(path)):
            yield piece
            read(patient.place())
        if patient.fault is not None:
            yield Fault(where=str(path), reason=f"the file is damaged: {patient.fault}")


def table(
    path: Path, *, read: Callable[[int], None]
) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    """Yield (line, row) of a CSV file with a header, or the fault of a line.

    A row that has not as many values as the header has names is a fault: it was cut off, or its
    values stand under the wrong names.
    """
    csv.field_size_limit(_CSV_FIELD_CHARS)
    with open_plain(path) as file:
        patient = _Patient(file)
        rows = csv.DictReader(patient.lines(), restkey="")
        known = False
        try:
            for row in rows:
                known = True
                wrong = "" in row or None in row.values()
                where = f"{path}:{rows.line_num}"
                yield rows.line_num, Fault(where=where, reason=UNEVEN) if wrong else row
                if rows.line_num % 1_000 == 0:
                    read(patient.place())
        except csv.Error as error:
            patient.fault = patient.fault or str(error)
        if not known and patient.fault is None:
            yield rows.line_num, Fault(where=str(path), reason="a table without a row")
        if patient.fault is not None:
            yield rows.line_num, Fault(where=str(path), reason=f"damaged: {patient.fault}")


class _Patient:
    """Reads as much of a file as there is; where it breaks off, it ends and says why."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._raw = file.fileobj if isinstance(file, gzip.GzipFile) else file
        self._rest = b""
        self.fault: str | None = None

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end."""
        parts = [self._rest[:size]]
        self._rest = self._rest[size:]
        room = size - len(parts[0])
        while room and (part := self._more(min(room, PIECE_BYTES))):
            parts.append(part)
            room -= len(part)
        return b"".join(parts)

    def readline(self, size: int) -> bytes:
        """Return a line with its end, or up to ``size`` bytes of it."""
        parts: list[bytes] = []
        room = size
        while room:
            part = self._rest or self._more(BLOCK_BYTES)
            self._rest = b""
            if not part:
                break
            end = part.find(b"\n", 0, room) + 1 or min(len(part), room)
            parts.append(part[:end])
            self._rest = part[end:]
            room -= end
            if parts[-1].endswith(b"\n"):
                break
        return b"".join(parts)

    def lines(self) -> Iterator[str]:
        """Yield lines as text; what is no UTF-8 is replaced."""
        while line := self.readline(DOCUMENT_BYTES_MAX):
            yield line.decode("utf-8-sig", "replace").replace("\0", "")

    def place(self) -> int:
        """Return how far into the file on disk the reading is."""
        return self._raw.tell() if self._raw is not None else 0

    def _more(self, size: int) -> bytes:
        if self.fault is not None:
            return b""
        try:
            return cast("io.BufferedReader", self._file).read1(size)
        except (EOFError, zlib.error, OSError) as error:
            self.fault = str(error)
            return b""


def _whole(line: bytes, *, cut: bool) -> bool:
    """Say whether a first line is a JSON value of its own; a long one is taken for one."""
    if cut and len(line) > HEAD_BYTES // 2:
        return True
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # A line that breaks off where the file does is a truncated line, not a document.
        return len(line.strip()) > 2 and not cut and line.strip().endswith((b"}", b"]"))
    return True


def _is_csv(head: bytes) -> bool:
    line = head.partition(b"\n")[0]
    return b"," in line and all(32 <= byte < 127 or byte in b"\t\r\xef\xbb\xbf" for byte in line)


def _lines(file: _Patient, source: str) -> Iterator[Piece | Fault]:
    number, first, held, size = 0, 1, [], 0
    while line := file.readline(DOCUMENT_BYTES_MAX):
        number += 1
        if len(line) == DOCUMENT_BYTES_MAX and not line.endswith(b"\n"):
            yield Fault(where=f"{source}:{number}", reason=f"a line over {LIMIT}; {REMEDY}")
            while (rest := file.readline(DOCUMENT_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            continue
        held.append(line)
        size += len(line)
        if size >= PIECE_BYTES:
            yield Piece(source, "lines", b"".join(held), first)
            held, size, first = [], 0, number + 1
    if held:
        yield Piece(source, "lines", b"".join(held), first)


def _document(file: _Patient, source: str) -> Iterator[Piece | Fault]:
    data = file.read(DOCUMENT_BYTES_MAX + 1)
    if len(data) > DOCUMENT_BYTES_MAX:
        yield Fault(
            where=source,
            reason=f"one JSON document over {LIMIT}; {REMEDY}",
        )
        return
    yield Piece(source, "document", data.removeprefix(b"\xef\xbb\xbf"))


def _requests(file: _Patient, source: str) -> Iterator[Piece | Fault]:
    """Yield protobuf requests: with their lengths in four bytes before them, or a single one."""
    start = file.read(4)
    length = int.from_bytes(start, "big")
    # A single request starts with the tag 0x0a, which as a length would be 160 MiB and more.
    if start[:1] == b"\x0a" or not 0 < length <= DOCUMENT_BYTES_MAX:
        data = start + file.read(DOCUMENT_BYTES_MAX)
        if len(data) > DOCUMENT_BYTES_MAX:
            yield Fault(where=source, reason=f"one protobuf request over {LIMIT}")
        else:
            yield Piece(source, "proto", data)
        return
    number = 0
    while len(start) == 4:
        number += 1
        length = int.from_bytes(start, "big")
        body = file.read(length) if length <= DOCUMENT_BYTES_MAX else b""
        if len(body) < length:
            known = "the last request is cut off" if number > 1 else "cut off, or no known format"
            yield Fault(where=f"{source}#{number}", reason=known)
            return
        yield Piece(f"{source}#{number}", "proto", body)
        start = file.read(4)
    if start:
        yield Fault(where=source, reason="bytes after the last request")
