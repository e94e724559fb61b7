"""A .tflite file as C source, for firmware that links its model."""

from __future__ import annotations

import re
from pathlib import Path

from qedeploy.files import write_text

_PER_LINE = 16


def write_c_array(content: bytes, model: Path) -> Path:
    """Write `content` beside its file as MODEL.h and return that path.

    It defines `<name>`, aligned to 16 bytes as kernels that read in place need it, and `<name>_len`; the name is the
    file's in letters, digits and underscores.
    """
    name = re.sub(r"\W", "_", model.name, flags=re.ASCII)
    name = f"_{name}" if name[0].isdigit() else name
    rows = (content[start : start + _PER_LINE] for start in range(0, len(content), _PER_LINE))
    lines = "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    text = (
        "#pragma once\n\n"
        f"static const unsigned char {name}[] __attribute__((aligned(16))) = {{\n{lines}\n}};\n"
        f"static const unsigned int {name}_len = {len(content)};\n"
    )
    return write_text(model.with_name(f"{model.name}.h"), text)
