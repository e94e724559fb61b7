"""What native code prints stays out of a document on standard output."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes
from qedeploy.search.assign.silence import native_output_silenced
c = ctypes.CDLL(None)
print("before")
c.printf(b"earlier, of C\\n")
with native_output_silenced():
    c.printf(b"noise\\n")
print("after")
"""


def test_lines_of_c_before_and_after_are_kept_and_those_within_are_not():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["before", "earlier, of C", "after"]


def test_without_a_standard_output_nothing_happens():
    program = "import os; os.close(1)\n" + PROGRAM.replace('print("before")', "").replace('print("after")', "")
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
