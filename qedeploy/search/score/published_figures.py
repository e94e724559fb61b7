"""The published models as data: what was printed next to what each accounting gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from qedeploy.network.accounting import REFERENCE_SIZE, Accounting, bitops_accountings, size_accountings
from qedeploy.network.costs import structure_costs
from qedeploy.network.published import PublishedModel
from qedeploy.search.score.kinds.qe_score import qe_score


def published_document(models: Sequence[PublishedModel]) -> list[dict[str, Any]]:
    """Return the rows as JSON-ready data: published figures as numbers, recomputed ones in bytes and BitOps."""
    return [
        {
            "name": model.name,
            "source": model.source,
            "note": model.note,
            "published": {
                "parameter_megabytes": float(model.parameter_megabytes),
                "bitops_giga": float(model.bitops_giga),
                "top1_percent": float(model.top1_percent),
            },
            "score": qe_score(model.structure),
            **asdict(structure_costs(model.structure)),
            "size_accountings": [asdict(item) for item in published_sizes(model)],
            "bitops_accountings": [asdict(item) for item in published_bitops(model)],
        }
        for model in models
    ]


def accounting_notes(models: Sequence[PublishedModel]) -> tuple[str, ...]:
    """Return what a reader of the tables must know, the notes of the models last."""
    fitting = [{item.name for item in published_bitops(model) if item.fits} for model in models]
    everywhere = set.intersection(*fitting) if fitting else set()
    verdict = f"{', '.join(sorted(everywhere))} gives" if everywhere else "No single accounting gives"
    named = {note: [model.name for model in models if model.note == note] for note in (m.note for m in models) if note}
    return (
        f"= rounds to the printed figure, ~ gives it with the last digits cut off. {verdict} every printed BitOps.",
        f"here: {REFERENCE_SIZE}, and reference: 64 times LightNAS's flops, with normalisation, activations and "
        "pooling, without the classifier. reference's blocks: MobileNetV2 as LightNAS can draw it, each block with an "
        "expand layer and ReLUs.",
        *(f"{', '.join(names)}: {note}" for note, names in named.items()),
    )


def published_sizes(model: PublishedModel) -> tuple[Accounting, ...]:
    """Return the recomputed sizes of a model, bytes by each accounting."""
    return size_accountings(model.structure, model.parameter_megabytes)


def published_bitops(model: PublishedModel) -> tuple[Accounting, ...]:
    """Return the recomputed BitOps of a model by each accounting."""
    return bitops_accountings(model.structure, model.bitops_giga)
