"""A piece of a dump and the rows in it; the work that several processes may share."""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from collector.decode import BadBody, Reception
from collector.dumps.foreign import add_langfuse, add_litellm, is_langfuse, is_litellm
from collector.dumps.marks import mark
from collector.dumps.otlp import decode_json, decode_proto
from collector.pricing import BookPricing
from collector.rows import Batch, CallRow
from telemetry.prices import PriceBook

EXAMPLES_MAX: Final = 10
_OTLP_KEYS: Final = ("resourceSpans", "resourceLogs", "resourceMetrics")
_OTLP_MARKS: Final = tuple(f'"{key}"'.encode() for key in _OTLP_KEYS)
_CALL_FIELDS: Final = frozenset(CallRow.__struct_fields__)
# What tells rows of the store's other tables, which hold no call of their own.
_OTHER_TABLES: Final = ("decision_id", "log_id", "evaluation_id", "span_id")

Record = Mapping[str, Any]


class Piece(msgspec.Struct, frozen=True):
    """Some bytes of one source; ``line`` is the number of its first line."""

    source: str
    form: Literal["lines", "document", "proto"]
    data: bytes
    line: int = 1


@dataclass(slots=True)
class Rows:
    """The rows of a piece, and all that could not be used."""

    batch: Batch = field(default_factory=Batch)
    refused: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    forms: dict[str, int] = field(default_factory=dict)

    def refuse(self, reason: str, where: str) -> None:
        """Count what could not be used, and name the first few."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(f"{where}: {reason}")

    def saw(self, form: str) -> None:
        """Count a record of a format."""
        self.forms[form] = self.forms.get(form, 0) + 1

    def join(self, batch: Batch) -> None:
        """Add the rows and counts of another batch."""
        mine = self.batch
        mine.calls += batch.calls
        mine.decisions += batch.decisions
        mine.spans += batch.spans
        mine.evaluations += batch.evaluations
        for reason, count in batch.rejected.items():
            mine.rejected[reason] = mine.rejected.get(reason, 0) + count
        mine.biased += batch.biased
        mine.uncoerced += batch.uncoerced
        mine.points += batch.points


def rows_of(piece: Piece, reception: Reception) -> Rows:
    """Return the rows of a piece; what cannot be read is counted and never raised."""
    rows = Rows()
    if piece.form == "proto":
        _attempt(rows, piece.source, lambda: _add_proto(rows, piece.data, reception))
    elif piece.form == "document":
        _attempt(
            rows, piece.source,
            lambda: _add_value(rows, _json(piece.data), reception, where=piece.source),
        )  # fmt: skip
    else:
        for number, line in enumerate(piece.data.split(b"\n"), start=piece.line):
            text = line.removeprefix(b"\xef\xbb\xbf").strip()
            if text:
                where = f"{piece.source}:{number}"
                _attempt(rows, where, _adder(rows, text, reception, where))
    return rows


def add_record(rows: Rows, record: Record, reception: Reception, *, where: str) -> None:
    """Add one row of a table, whichever product wrote it; say so when nobody known did."""
    if "trace_id" in record and "counted" in record:
        rows.saw("tierwise export")
        add_exported(rows, record, where=where)
    elif is_litellm(record):
        rows.saw("LiteLLM spend log")
        add_litellm(rows.batch, record, reception)
    elif is_langfuse(record):
        rows.saw("Langfuse observation")
        add_langfuse(rows.batch, record, reception)
    elif "received_ns" in record and any(key in record for key in _OTHER_TABLES):
        rows.refuse("a row of another table than calls, which holds no model call", where)
    else:
        rows.refuse("a record of no format known here", where)


def add_exported(rows: Rows, record: Record, *, where: str) -> None:
    """Add one row of the collector's table ``calls``; what it found out there stands here too."""
    known = {key: value for key, value in record.items() if key in _CALL_FIELDS}
    try:
        row = msgspec.convert(known, CallRow, strict=False)
    except msgspec.ValidationError as error:
        rows.refuse(f"not a row of calls: {error}", where)
        return
    if min(row.input_tokens or 0, row.output_tokens or 0, row.cost_usd or 0.0) < 0:
        rows.refuse("a row of calls with negative tokens or cost", where)
        return
    aside = "" if row.counted else row.uncounted_reason or "uncounted"
    mark(row, None, aside=aside)
    # Whose call it is and whether it counts is settled; nothing here may settle it again.
    row.parent_id = row.awaits = row.response_id = None
    rows.batch.calls.append(row)


def _adder(rows: Rows, text: bytes, reception: Reception, where: str) -> Callable[[], None]:
    def add() -> None:
        if any(mark in text[:256] for mark in _OTLP_MARKS):
            rows.saw("OTLP")
            rows.join(decode_json(text, reception))
        else:
            _add_value(rows, _json(text), reception, where=where)

    return add


def _add_proto(rows: Rows, data: bytes, reception: Reception) -> None:
    try:
        batch = decode_proto(data, reception)
    except BadBody as error:
        raise BadBody("neither OTLP protobuf nor any other format known here") from error
    rows.saw("OTLP")
    rows.join(batch)


def _add_value(rows: Rows, value: Any, reception: Reception, *, where: str) -> None:
    """Add what a JSON value holds: an OTLP body, a record, a list of them, or a page of an API."""
    if isinstance(value, list):
        _add_each(rows, value, reception, where=where)
    elif not isinstance(value, dict):
        raise BadBody("neither an object nor a list")
    elif any(key in value for key in _OTLP_KEYS):
        rows.saw("OTLP")
        signal = next(key for key in _OTLP_KEYS if key in value)
        # The signal's key first, where the decoder looks for it.
        body = {signal: value[signal]}
        rows.join(decode_json(msgspec.json.encode(body), reception))
    elif isinstance(value.get("data"), list):
        _add_each(rows, value["data"], reception, where=where)
    elif isinstance(value.get("observations"), list):
        _add_each(rows, value["observations"], reception, where=where)
    else:
        add_record(rows, value, reception, where=where)


def _add_each(rows: Rows, values: Sequence[Any], reception: Reception, *, where: str) -> None:
    if not values:
        rows.refuse("an empty list", where)
    for number, value in enumerate(values):
        place = f"{where}[{number}]"
        if isinstance(value, dict):
            _attempt(rows, place, _value_adder(rows, value, reception, place))
        else:
            rows.refuse("neither an object nor a list of objects", place)


def _value_adder(
    rows: Rows, value: dict[str, Any], reception: Reception, where: str
) -> Callable[[], None]:
    return lambda: _add_value(rows, value, reception, where=where)


def _attempt(rows: Rows, where: str, add: Callable[[], None]) -> None:
    try:
        add()
    except BadBody as error:
        rows.refuse(str(error)[:200], where)
    except Exception as error:  # noqa: BLE001 - a hostile record must not end the whole audit
        rows.refuse(f"cannot be read: {type(error).__name__}: {str(error)[:120]}", where)


def _json(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(f"not JSON: {str(error)[:120]}") from error


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Rows)
_worker: list[Reception] = []


def start_worker(book: PriceBook, received_ns: int) -> None:
    """Prepare a process of its own for decoding; it makes no cycles worth collecting."""
    gc.disable()
    _worker[:] = [Reception(received_ns=received_ns, pricing=BookPricing(book))]


def work(piece: Piece) -> bytes:
    """Return the rows of a piece, packed, from a process that ``start_worker`` prepared."""
    return _ENCODER.encode(rows_of(piece, _worker[0]))


def unpacked(data: bytes) -> Rows:
    """Return rows that another process packed."""
    return _DECODER.decode(data)
