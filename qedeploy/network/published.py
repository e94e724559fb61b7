"""The published models: LightNAS's table of quantized networks, with the structures behind its rows."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qedeploy.errors import UserError
from qedeploy.files import read_text
from qedeploy.network.lightnas import parse_text
from qedeploy.network.structure import Activation, Bits, Block, Classifier, Convolution, Stage, Structure
from qedeploy.schema import read_toml

FOLDER = Path(__file__).parent / "published_models"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedModel:
    """One row of the table. The figures are text as printed, which keeps their precision.

    `parameter_megabytes` in MB, `bitops_giga` in 10^9 BitOps, `top1_percent` on ImageNet; `source` is where the row
    stands, `note` what the source leaves open.
    """

    name: str
    structure: Structure
    parameter_megabytes: str
    bitops_giga: str
    top1_percent: str
    source: str
    note: str = ""


@lru_cache(maxsize=1)
def published_models() -> tuple[PublishedModel, ...]:
    """Return the rows of the table in its order."""
    table = read_toml(FOLDER / "models.toml")
    return tuple(
        PublishedModel(
            name=row["name"],
            structure=_structure(row, table["mobilenetv2"]),
            parameter_megabytes=row["parameter_megabytes"],
            bitops_giga=row["bitops_giga"],
            top1_percent=row["top1_percent"],
            source=table["source"],
            note=row.get("note", ""),
        )
        for row in table["models"]
    )


def find_published(name: str) -> PublishedModel:
    """Return the row named `name`, capitals and hyphens aside; raises UserError with the names and the closest one."""
    rows = {_key(model.name): model for model in published_models()}
    if _key(name) in rows:
        return rows[_key(name)]
    close = difflib.get_close_matches(_key(name), rows, n=1)
    hint = f" (did you mean {rows[close[0]].name}?)" if close else ""
    raise UserError(f"no published model is named {name!r}{hint}: there are {', '.join(m.name for m in rows.values())}")


def mobilenetv2(table: dict[str, Any], *, bits: Bits, stem_bits: Bits, classes: int = 1000) -> Structure:
    """Return MobileNetV2 of `table` (expansion, channels, blocks and first stride of each stage) as published.

    Sandler et al. 2018: no expand layer where the expansion is 1, linear bottlenecks, ReLU6. The bottleneck of a block
    is the expansion times what the block reads, so a stage whose first block reads fewer channels is two stages here.
    """
    stages: list[Stage] = []
    in_channels = table["stem_channels"]
    for row in table["stages"]:
        block = Block(expand=None if row["expansion"] == 1 else bits, depthwise=bits, project=bits)
        runs = [(in_channels, row["stride"], 1), (row["channels"], 1, row["blocks"] - 1)]
        stages.extend(
            Stage(
                out_channels=row["channels"],
                bottleneck_channels=row["expansion"] * read,
                kernel=3,
                stride=stride,
                blocks=(block,) * blocks,
            )
            for read, stride, blocks in runs
            if blocks
        )
        in_channels = row["channels"]
    return Structure(
        stem=Convolution(out_channels=table["stem_channels"], kernel=3, stride=2, bits=stem_bits),
        stages=tuple(stages),
        head=Convolution(out_channels=table["head_channels"], kernel=1, stride=1, bits=bits),
        classifier=Classifier(classes=classes),
        activation=Activation.RELU6,
        linear_bottlenecks=True,
    )


def _structure(row: dict[str, Any], mobilenetv2_table: dict[str, Any]) -> Structure:
    if "lightnas" in row:
        return parse_text(read_text(FOLDER / row["lightnas"]))
    widths = row["mobilenetv2"]
    return mobilenetv2(mobilenetv2_table, bits=Bits(**widths["bits"]), stem_bits=Bits(**widths["stem_bits"]))


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
