"""Times of layers that were measured elsewhere, as CSV or JSON, so that a device without this tool can be described."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qedeploy.errors import UserError
from qedeploy.files import read_bytes
from qedeploy.latency.csv_rows import COLUMNS, SHAPE_COLUMNS, UNITS, LayerTimeRow, NetworkRow, row_of, shown
from qedeploy.latency.table import Calibration, LatencyTable, Shape, Source, TablePoint, spread
from qedeploy.profiles.profile import Profile
from qedeploy.schema import read_json

_WORDS = {"kind", "bits", "device"}
"""Columns whose cells are words even where they look like numbers."""

_REPORTED = 3
"""Wrong rows that an error names."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """One row as the file has it, and the name that errors give it."""

    place: str
    values: Mapping[str, Any]


def read_imported(path: Path, profile: Profile) -> LatencyTable:
    """Return the latency table of a CSV or JSON file with a row for each layer that was measured.

    Rows of the same shape become one point, their median. A row of kind `network` is what a query costs beyond its
    layers. Raises UserError naming file, row and field for anything that contradicts docs/formats.md, and for bits
    that `profile` lacks.
    """
    device, records = _read_csv(path) if path.suffix.lower() == ".csv" else _read_json(path)
    rows, faults = [], []
    for record in records:
        try:
            rows.append((record.place, row_of(record.values, profile)))
        except ValueError as error:
            faults.append(f"{record.place}: {error}")
    if faults:
        more = f"; and {len(faults) - _REPORTED} more rows" if len(faults) > _REPORTED else ""
        raise UserError(f"{path}: {'; '.join(faults[:_REPORTED])}{more}")
    layers = [row for _, row in rows if isinstance(row, LayerTimeRow)]
    if not layers:
        raise UserError(f"{path}: expected at least one row with a layer's time, found none")
    _require_one(path, "unit", ((place, row.unit) for place, row in rows))
    devices = ((place, row.device) for place, row in rows if row.device is not None)
    named = _require_one(path, "device", [("device", device)] if device is not None else [], devices)
    fixed = [row.time for _, row in rows if isinstance(row, NetworkRow)]
    return LatencyTable(
        profile=profile.name,
        device=named or profile.device,
        runtime={},
        settings={},
        points=_points(layers),
        calibration=Calibration(constant=float(np.median(fixed)) if fixed else 0.0),
    )


def _require_one(path: Path, what: str, *found: Iterable[tuple[str, str]]) -> str | None:
    """Return the value that all (place, value) pairs share, None if there are no pairs."""
    first: tuple[str, str] | None = None
    for place, value in (pair for pairs in found for pair in pairs):
        if first is None:
            first = (place, value)
        elif value != first[1]:
            raise UserError(
                f"{path}: {place}: {what}: expected {shown(first[1])} as in {first[0]}, found {shown(value)}: "
                f"a file has one {what}"
            )
    return first[1] if first is not None else None


def _points(rows: Iterable[LayerTimeRow]) -> tuple[TablePoint, ...]:
    by_shape: dict[Shape, list[LayerTimeRow]] = {}
    for row in rows:
        by_shape.setdefault(row.shape, []).append(row)
    return tuple(_point(shape, members) for shape, members in by_shape.items())


def _point(shape: Shape, rows: list[LayerTimeRow]) -> TablePoint:
    times = [row.time for row in rows]
    return TablePoint(
        shape=shape,
        seconds=float(np.median(times)),
        spread=spread(times),
        rounds=sum(row.repeats for row in rows),
        source=Source.IMPORTED,
    )


def _read_json(path: Path) -> tuple[str | None, list[_Record]]:
    data = read_json(path)
    device = None
    if isinstance(data, dict):
        unknown = [key for key in data if key not in {"device", "layers"}]
        if unknown or not isinstance(data.get("layers"), list):
            found = f"found the key {unknown[0]!r}" if unknown else "found none"
            raise UserError(f"{path}: expected a list of layers, or their list under `layers` beside `device`, {found}")
        device, data = data.get("device"), data["layers"]
        if device is not None and not (isinstance(device, str) and device):
            raise UserError(f"{path}: device: expected text, found {shown(device)}")
    if not isinstance(data, list):
        raise UserError(f"{path}: expected a list of layers, found {shown(data)}")
    for number, item in enumerate(data, start=1):
        if not isinstance(item, dict):
            raise UserError(f"{path}: layer {number}: expected an object with the columns, found {shown(item)}")
    return device, [_Record(place=f"layer {number}", values=item) for number, item in enumerate(data, start=1)]


def _read_csv(path: Path) -> tuple[None, list[_Record]]:
    text = _csv_text(path)
    delimiter = _delimiter(text)
    lines = _lines(path, text, delimiter)
    number, header = next(lines, (1, []))
    columns = [cell.strip() for cell in header]
    _require_columns(path, number, columns)
    records = []
    for number, cells in lines:
        if len(cells) != len(columns):
            raise UserError(
                f"{path}: line {number}: expected {len(columns)} cells as in the header, found {len(cells)}: "
                f"cells are separated by {delimiter!r}"
            )
        values = {
            name: cell.strip() if name in _WORDS else _number(cell.strip(), decimal_comma=delimiter != ",")
            for name, cell in zip(columns, cells, strict=True)
            if cell.strip()
        }
        records.append(_Record(place=f"line {number}", values=values))
    return None, records


def _csv_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")  # Excel puts a byte order mark in front.
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}): save it as `CSV UTF-8`") from error


def _delimiter(text: str) -> str:
    """Return what separates cells: Excel writes semicolons where the decimal sign is a comma."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return next((sign for sign in ",;\t" if sign in header), ",")


def _lines(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of every line that has any."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not valid CSV: {error}") from error


def _require_columns(path: Path, number: int, columns: list[str]) -> None:
    where = f"{path}: line {number}"
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise UserError(f"{where}: unknown column {shown(unknown[0])}: expected {', '.join(COLUMNS)}")
    repeated = [name for name in columns if columns.count(name) > 1]
    if repeated:
        raise UserError(f"{where}: expected each column once, found {repeated[0]} twice")
    missing = [name for name in ("kind", *SHAPE_COLUMNS) if name not in columns]
    if missing:
        raise UserError(f"{where}: expected a header with the columns {', '.join(missing)}, found none")
    units = [name for name in columns if name in UNITS]
    if len(units) != 1:
        raise UserError(
            f"{where}: expected one column with times, {', '.join(UNITS)}, found {' and '.join(units) or 'none'}"
        )


def _number(cell: str, *, decimal_comma: bool) -> int | float | str:
    """Return the number of a cell; any other text stays text, and the schema refuses it."""
    if _INTEGER.fullmatch(cell):
        return int(cell)
    if decimal_comma and "." not in cell and cell.count(",") == 1:
        cell = cell.replace(",", ".")
    return float(cell) if _DECIMAL.fullmatch(cell) else cell
