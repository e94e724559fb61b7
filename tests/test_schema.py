"""Files that no parser likes: one line, whatever the parser raises."""

from __future__ import annotations

import pytest

from qedeploy.errors import UserError
from qedeploy.schema import read_json, read_toml


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a = " + "9" * 5002, "integer string"),
        ("a = " + "[" * 200_000, "nested too deeply"),
        ("a = [", "end of document|line 1"),
        ("a.b = 1\na = 2", "overwrite"),
    ],
)
def test_toml_that_cannot_be_read_is_a_line(tmp_path, text, reason):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(UserError, match=rf"a\.toml: not valid TOML: .*{reason}") as caught:
        read_toml(tmp_path / "a.toml")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("9" * 5002, "integer string"), ("[" * 200_000, "nested too deeply"), ('{"a": ', "line 1"), ("nul", "line 1")],
)
def test_json_that_cannot_be_read_is_a_line(tmp_path, text, reason):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=rf"a\.json: not valid JSON: .*{reason}"):
        read_json(tmp_path / "a.json")
