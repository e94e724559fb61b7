"""A fuzzer over the files that the command line reads: damaged, they are one line and a documented exit code.

Not in the default run: `pytest -m slow tests/fuzz`. QEDEPLOY_FUZZ_CASES says how many cases (300 by default),
QEDEPLOY_FUZZ_SEED which.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from qedeploy.cli.failures import failure
from qedeploy.cli.main import app
from tests.fuzz.seeds import TARGETS, Target, write_seeds

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("QEDEPLOY_FUZZ_CASES", "300"))
SEED = int(os.environ.get("QEDEPLOY_FUZZ_SEED", "0"))
DOCUMENTED = {0, 1, 2, 3, 4}
SECONDS, WAITING = 20, 300
TEXT = {".json", ".jsonl", ".txt", ".toml", ".csv"}
NASTY: list[Any] = [
    None, True, 0, -1, 1, 3, 2**31, 2**63, -(2**70), 1 << 20, 0.5, 1e308, 5e-324, float("nan"), float("inf"), "", "x",
    "[/red]", "\x1b[31m", "\udcff", "$x$", "x" * 300, "-1", "NaN", [], {}, [[]], [None], {"a": 1},
]  # fmt: skip
FRAGMENTS = [
    b"\0",
    b"\xff",
    b"[" * 3000,
    b"9" * 5000,
    b"\n",
    b"nan",
    b"-",
    b"\x1b[31m",
    b"[/red]",
    b"1e999",
    b"'",
    b'"',
    b"{",
]


class HangError(Exception):
    """A command took longer than it may."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in JSON-like data, its own first."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in places(child, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of JSON-like data with `new` at `path`; the place is gone where `new` is `places`."""
    if not path:
        return None if new is places else new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is places:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def damaged(draw: st.DrawFn, content: bytes, suffix: str) -> bytes:
    """The content with bytes changed, cut, doubled or put in, or with a value of its JSON replaced."""
    if suffix == ".json" and draw(st.booleans()):
        value = json.loads(content)
        for _ in range(draw(st.integers(1, 3))):
            path = draw(st.sampled_from(places(value)))
            value = replaced(value, path, draw(st.sampled_from([*NASTY, places])))
        return json.dumps(value).encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 2, 7, 64, 1 << 20]))
        new = draw(st.sampled_from([b"", *FRAGMENTS]) | st.binary(max_size=8))
        content = content[:start] + new + content[start + length :]
    return content


def run(arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command and what it wrote, in this process; raises HangError past its time."""

    def late(_signal: int, _frame: object) -> None:
        raise HangError

    out, err = io.StringIO(), io.StringIO()
    # Of processor time, which a busy machine does not take away; and of waiting, for what is never done.
    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAITING)}
    before = {kind: signal.signal(kind, late) for kind in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app(arguments, prog_name="qedeploy", standalone_mode=False)
        return code or 0, out.getvalue() + err.getvalue()
    except HangError:
        raise
    except Exception as error:
        message, code = failure(error)
        return code, out.getvalue() + err.getvalue() + message
    finally:
        for kind, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(kind, before[kind])


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


def prepare(seeds: Path, folder: Path, target: Target) -> None:
    for name in {*target.beside, target.file}:
        source, copy = seeds / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, dirs_exist_ok=True)
        else:
            shutil.copy(source, copy)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.arguments[0]} {target.file}")
def test_damaged_files_are_a_line_and_a_documented_code(target, seeds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = (seeds / target.file).read_bytes()

    @seed(SEED)
    @settings(
        max_examples=max(1, CASES // len(TARGETS)), deadline=None, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damaged(content, Path(target.file).suffix))
    def examine(bad: bytes) -> None:
        for item in tmp_path.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
        prepare(seeds, tmp_path, target)
        (tmp_path / target.file).write_bytes(bad)
        (tmp_path / "out").mkdir()
        code, said = run([part.format(file=target.file, out="out") for part in target.arguments])
        assert code in DOCUMENTED, said
        assert "\x1b" not in said
        assert code == 0 or said.strip(), "left in silence"
        left = [path for path in tmp_path.rglob("*") if path.name.endswith((".part", ".tmp"))]
        assert not left, left

    examine()
    sys.stdout.flush()
