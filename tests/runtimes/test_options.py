"""Settings of runtimes: defaults, types, and names that nobody has."""

from __future__ import annotations

import pytest

from qedeploy.bench.benchmark import BenchOptions, benchmark
from qedeploy.errors import UserError
from qedeploy.runtimes.options import Option, chosen, require_known
from qedeploy.runtimes.registry import build_options, require_build_settings, run_options
from qedeploy.runtimes.runner import RunnerOptions

OPTIONS = (
    Option(name="fast", kind=bool, default=True, help="Be fast."),
    Option(name="level", kind=int, default=3, help="How much."),
    Option(name="size", default=None, help="How large."),
)


def test_what_is_not_given_is_at_its_default():
    assert chosen(OPTIONS, {}) == {"fast": True, "level": 3, "size": None}
    assert chosen(OPTIONS, {"fast": False, "size": "2GiB", "another's": 1}) == {
        "fast": False, "level": 3, "size": "2GiB",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fast": 1}, "fast: expected true or false, found 1"),
        ({"level": True}, "level: expected a whole number, found True"),
        ({"level": "3"}, "level: expected a whole number, found '3'"),
        ({"size": 2}, "size: expected text, found 2"),
    ],
)
def test_a_value_of_another_type_is_refused(settings, expected):
    with pytest.raises(UserError, match=expected):
        chosen(OPTIONS, settings)


def test_a_name_that_no_runtime_has_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"slow: no runtime has this setting, expected one of fast, level, size"):
        require_known(OPTIONS, {"slow": True})
    with pytest.raises(UserError, match=r"cuda_grahp: no runtime has this setting"):
        benchmark(tmp_path / "model.onnx", BenchOptions(runner=RunnerOptions(settings={"cuda_grahp": False})))
    with pytest.raises(UserError, match=r"work_space: no runtime has this setting"):
        require_build_settings({"work_space": "2GiB"}, None)


def test_settings_that_a_build_would_refuse_are_refused_before():
    require_build_settings({"workspace": "2GiB", "engine_batch": "1:4:8"}, None)
    with pytest.raises(UserError, match="--workspace: "):
        require_build_settings({"workspace": "much"}, None)
    with pytest.raises(UserError, match="optimization level: expected 0 to 5, found 9"):
        require_build_settings({"optimization_level": 9}, None)


def test_options_of_all_runtimes_have_a_default_of_their_kind():
    for option in (*run_options(), *build_options()):
        assert option.default is None or type(option.default) is option.kind
        assert option.help.endswith((".", ")."))
        assert option.name.isidentifier()
