"""Times from elsewhere: read as they were written, or refused with the place that is wrong."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qedeploy.errors import UserError
from qedeploy.latency.csv_import import read_imported
from qedeploy.latency.csv_rows import COLUMNS, SHAPE_COLUMNS, UNITS
from qedeploy.latency.predictor import LatencyModel
from qedeploy.latency.table import LatencyTable, Part, Shape, Source
from qedeploy.network.graph import structure_graph
from qedeploy.network.structure import Bits
from qedeploy.profiles.loader import load_profile
from tests.export.networks import small_structure

PROFILE = load_profile("cpu-int8")
W8A8 = Bits(weight=8, activation=8)
FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"

HEADER = "kind,in_channels,out_channels,kernel,stride,size,bits,us"
ROW = "pointwise,16,32,1,1,28,W8A8,12.5"


def read(folder: Path, content: str | bytes | list | dict, name: str | None = None) -> LatencyTable:
    if isinstance(content, list | dict):
        content, name = json.dumps(content), name or "times.json"
    path = folder / (name or "times.csv")
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_imported(path, PROFILE)


def record(**changes: object) -> dict[str, object]:
    plain = dict(zip(HEADER.split(","), ["pointwise", 16, 32, 1, 1, 28, "W8A8", 12.5], strict=True))
    return {key: value for key, value in (plain | changes).items() if value is not None}


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    part = draw(st.sampled_from(list(Part)))
    channels = st.integers(1, 4096)
    inputs = draw(channels)
    free = part in {Part.STEM, Part.DEPTHWISE, Part.HEAD}
    return Shape(
        part=part,
        in_channels=inputs,
        out_channels=inputs if part in {Part.DEPTHWISE, Part.SHORTCUT} else draw(channels),
        kernel=draw(st.sampled_from([1, 3, 5, 7])) if free else 1,
        stride=draw(st.sampled_from([1, 2])) if free or part is Part.SHORTCUT else 1,
        size=draw(st.integers(1, 512)),
        bits=Bits(weight=draw(st.integers(2, 8)), activation=draw(st.integers(2, 8))),
    )


def row_of(shape: Shape, unit: str, seconds: float) -> dict[str, object]:
    fields = {name: getattr(shape, name) for name in SHAPE_COLUMNS}
    return {"kind": str(shape.part), **fields, "bits": str(shape.bits), unit: seconds / UNITS[unit]}


def as_csv(rows: list[dict[str, object]], delimiter: str, end: str, mark: bool, comma: bool) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    for row in rows:
        decimal = {name: str(value).replace(".", ",") if comma else value for name, value in row.items()}
        writer.writerow(decimal)
    return stream.getvalue().encode("utf-8-sig" if mark else "utf-8")


@given(
    times=st.dictionaries(shapes(), st.floats(1e-8, 1.0), min_size=1, max_size=12),
    unit=st.sampled_from(list(UNITS)),
    delimiter=st.sampled_from([",", ";", "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_what_is_written_is_read_whatever_program_wrote_it(tmp_path_factory, times, unit, delimiter, end, mark):
    rows = [row_of(shape, unit, seconds) for shape, seconds in times.items()]
    content = as_csv(rows, delimiter, end, mark, comma=delimiter == ";")
    folder = tmp_path_factory.mktemp("round-trip")
    for table in (read(folder, content), read(folder, rows), read(folder, {"device": "board", "layers": rows})):
        assert {point.shape: point.seconds for point in table.points} == pytest.approx(times)
        assert {point.source for point in table.points} == {Source.IMPORTED}
        assert (table.profile, table.bottleneck_multiple, table.calibration.scale) == ("cpu-int8", 1, 1.0)


@given(st.lists(st.floats(1e-6, 1e-3), min_size=1, max_size=9))
def test_rows_of_one_shape_become_their_median(tmp_path_factory, times):
    rows = [record(us=None, seconds=time, repeats=3) for time in times]
    (point,) = read(tmp_path_factory.mktemp("repeats"), rows).points
    low, high = np.quantile(times, (0.25, 0.75))
    assert point.seconds == pytest.approx(np.median(times))
    assert point.spread == pytest.approx((high - low) / 2 / np.median(times))
    assert point.rounds == 3 * len(times)


def test_a_row_of_kind_network_is_the_fixed_cost(tmp_path):
    table = read(tmp_path, f"{HEADER}\n{ROW}\nnetwork,,,,,,,80\nnetwork,,,,,,,90\n")
    assert table.calibration.constant == pytest.approx(85e-6)
    assert len(table.points) == 1


def test_the_device_is_named_by_a_column_a_key_or_the_profile(tmp_path):
    assert read(tmp_path, f"{HEADER},device\n{ROW},a board\n{ROW},\n").device == "a board"
    assert read(tmp_path, {"device": "a board", "layers": [record()]}).device == "a board"
    assert read(tmp_path, [record()]).device == PROFILE.device


def test_empty_lines_and_cells_that_spreadsheets_leave_are_no_rows(tmp_path):
    table = read(tmp_path, f"\r\n{HEADER}\r\n,,,,,,,\r\n\r\n {ROW} \r\n,,,,,,,\r\n")
    assert [point.seconds for point in table.points] == pytest.approx([12.5e-6])


def test_a_whole_network_is_predicted_from_imported_rows(tmp_path):
    from qedeploy.latency.shapes import shapes_of

    structure = small_structure(W8A8)
    shapes = shapes_of(structure_graph(structure), 1)
    rows = [row_of(shape, "ms", 1e-3) for shape in dict.fromkeys(shapes.values())]
    table = read(tmp_path, [*rows, {"kind": "network", "ms": 2.0}])
    predicted = LatencyModel(table, PROFILE).seconds(structure_graph(structure))
    assert predicted == pytest.approx(1e-3 * len(shapes) + 2e-3, rel=0.02)


BAD_CSV = {
    "nothing": ("", "line 1: expected a header with the columns kind, in_channels"),
    "only a header": (HEADER, "expected at least one row with a layer's time"),
    "only the fixed cost": (f"{HEADER}\nnetwork,,,,,,,80", "expected at least one row with a layer's time"),
    "no header": (ROW, "line 1: unknown column 'pointwise'"),
    "an unknown column": (f"{HEADER},speed\n{ROW},1", "line 1: unknown column 'speed': expected kind"),
    "another unit": (HEADER.replace("us", "µs"), "line 1: unknown column 'µs': expected kind"),
    "a column twice": (f"{HEADER},size\n{ROW},1", "line 1: expected each column once, found size twice"),
    "a missing column": (HEADER.replace(",size", ""), "line 1: expected a header with the columns size, found none"),
    "no time": (HEADER.replace(",us", ""), "expected one column with times, seconds, ms, us, found none"),
    "two units": (f"{HEADER},ms\n{ROW},1", "expected one column with times, seconds, ms, us, found us and ms"),
    "a comma in a time": (f"{HEADER}\n{ROW.replace('12.5', '12,5')}", "line 2: expected 8 cells as in the header"),
    "a missing cell": (f"{HEADER}\n{ROW.replace('28', '')}", "line 2: size: expected a value, found none"),
    "a missing kind": (f"{HEADER}\n{ROW.removeprefix('pointwise')}", "line 2: kind: expected a value, found none"),
    "an unknown kind": (f"{HEADER}\n\n{ROW.replace('pointwise', 'conv')}", "line 3: kind: expected one of stem"),
    "a negative time": (f"{HEADER}\n{ROW.replace('12.5', '-12.5')}", "line 2: us: expected a positive time"),
    "no time at all": (f"{HEADER}\n{ROW.replace('12.5', '0')}", "line 2: us: expected a positive time"),
    "no number": (f"{HEADER}\n{ROW.replace('12.5', 'nan')}", "line 2: us: expected a number, found 'nan'"),
    "an infinite time": (f"{HEADER}\n{ROW.replace('12.5', '1e999')}", "line 2: us: expected a number, found inf"),
    "a time with its unit": (f"{HEADER}\n{ROW.replace('12.5', '12.5us')}", "us: expected a number, found '12.5us'"),
    "a formula": (f"{HEADER}\n{ROW.replace('12.5', '=1+1')}", "line 2: us: expected a number, found '=1+1'"),
    "microseconds as seconds": (
        f"{HEADER.replace('us', 'seconds')}\n{ROW.replace('12.5', '125')}",
        "seconds: expected a positive time of 1 ns to 60 s, found 125 seconds: is it the unit of the column?",
    ),
    "half a channel": (f"{HEADER}\n{ROW.replace('16', '16.5')}", "line 2: in_channels: expected a whole number"),
    "no channel": (f"{HEADER}\n{ROW.replace('16', '0')}", "line 2: in_channels: expected at least 1, found 0"),
    "far too many": (f"{HEADER}\n{ROW.replace('16', '9' * 60)}", "line 2: in_channels: expected a whole number"),
    "an even kernel": (f"{HEADER}\nstem,3,32,2,2,224,W8A8,9", "line 2: kernel: expected an odd size, found 2"),
    "a stride": (f"{HEADER}\nstem,3,32,3,3,224,W8A8,9", "line 2: stride: expected at most 2, found 3"),
    "a large pointwise": (f"{HEADER}\npointwise,3,32,3,1,224,W8A8,9", "line 2: kernel: expected 1 in a row of kind"),
    "a dense depthwise": (f"{HEADER}\ndepthwise,16,32,3,1,28,W8A8,9", "out_channels: expected in_channels (16) again"),
    "no bits": (f"{HEADER}\n{ROW.replace('W8A8', '8')}", "line 2: bits: expected a pair such as W8A8, found '8'"),
    "no width": (f"{HEADER}\n{ROW.replace('W8A8', 'W0A8')}", "line 2: bits: weight_bits: expected 1 to 16, found 0"),
    "bits of another profile": (
        f"{HEADER}\n{ROW.replace('W8A8', 'W16A16')}",
        "line 2: bits: profile cpu-int8 has no W16A16 for pointwise layers; it has W2..8 A2..8",
    ),
    "a shape of a network": (f"{HEADER}\nnetwork,3,,,,,,9", "in_channels: expected nothing in a row of kind network"),
    "two devices": (f"{HEADER},device\n{ROW},a\n{ROW},b", "line 3: device: expected 'a' as in line 2, found 'b'"),
    "quotes that stay open": (f'{HEADER}\n"{ROW}', "not valid CSV"),
    "UTF-16": (f"{HEADER}\n{ROW}".encode("utf-16"), "not UTF-8 text (byte 0): save it as `CSV UTF-8`"),
}

BAD_JSON = {
    "a number": ("3", "expected a list of layers, found 3"),
    "another key": ({"device": "x", "rows": []}, "beside `device`, found the key 'rows'"),
    "no layers": ({"device": "x"}, "beside `device`, found none"),
    "a device that is none": ({"device": 3, "layers": [record()]}, "device: expected text, found 3"),
    "a layer that is none": ([3], "layer 1: expected an object with the columns, found 3"),
    "text for a number": ([record(size="28")], "layer 1: size: expected a whole number, found '28'"),
    "a fraction": ([record(), record(size=28.0)], "layer 2: size: expected a whole number, found 28.0"),
    "yes": ([record(size=True)], "layer 1: size: expected a whole number, found True"),
    "a list as kind": ([record(kind=[])], "layer 1: kind: expected one of stem"),
    "nothing": ([{}], "layer 1: kind: expected a value, found none; in_channels: expected a value, found none"),
    "two times": ([record(ms=1)], "layer 1: expected a time in one of seconds, ms, us, found ms and us"),
    "no time": ([record(us=None)], "layer 1: expected a time in one of seconds, ms, us, found none"),
    "two units": ([record(), record(us=None, ms=1)], "layer 2: unit: expected 'us' as in layer 1, found 'ms'"),
    "an unknown field": ([record(speed=1)], "layer 1: speed: unknown column: expected kind"),
    "not a number": ("[" + json.dumps(record(us=float("nan"))) + "]", "layer 1: us: expected a number, found nan"),
    "a number without end": ("[" + json.dumps(record()).replace("12.5", "9" * 400) + "]", "layer 1: us: expected"),
    "two devices": ({"device": "a", "layers": [record(device="b")]}, "device: expected 'a' as in device, found 'b'"),
    "no JSON": ("[", "not valid JSON"),
    "many faults": ([record(size=0)] * 5, "layer 3: size: expected at least 1, found 0; and 2 more rows"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_a_bad_csv_file_is_refused_in_one_line_that_names_the_place(case, tmp_path):
    content, expected = BAD_CSV[case]
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    assert_one_line(str(caught.value), tmp_path / "times.csv", expected)


@pytest.mark.parametrize("case", BAD_JSON)
def test_a_bad_json_file_is_refused_in_one_line_that_names_the_place(case, tmp_path):
    content, expected = BAD_JSON[case]
    with pytest.raises(UserError) as caught:
        read(tmp_path, content, "times.json")
    assert_one_line(str(caught.value), tmp_path / "times.json", expected)


def assert_one_line(message: str, path: Path, expected: str) -> None:
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: f"{HEADER}\n{text}".encode())))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    for name in ("times.csv", "times.json"):
        said = ""
        try:
            read(folder, content, name)
        except UserError as error:
            said = str(error)
        assert "\n" not in said


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(UserError, match=r"times\.csv: cannot be read"):
        read_imported(tmp_path / "times.csv", PROFILE)


def test_the_examples_in_the_documents_are_read(tmp_path):
    text = FORMATS.read_text()
    (sheet,) = re.findall(r"^```csv\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (document,) = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    from_sheet, from_document = read(tmp_path, sheet), read(tmp_path, document, "times.json")
    assert from_sheet == from_document
    assert {point.shape.part for point in from_sheet.points} == set(Part)
    assert from_sheet.calibration.constant > 0
    assert set(sheet.splitlines()[0].split(",")) <= set(COLUMNS)
