"""What a search found that its figures alone would not tell a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from qedeploy.network.layers import LayerCategory, expand_layers
from qedeploy.network.structure import Bits, Structure
from qedeploy.search.costs.budgets.counted import BITOPS, EXECUTED_BITOPS, FLOPS
from qedeploy.search.costs.registry import budget_costs
from qedeploy.search.methods import EVOLUTION
from qedeploy.search.request import Request
from qedeploy.search.result import BLIND_BELOW, SearchResult, score_is_blind
from qedeploy.units import format_count

_FAR_FROM_A_LIMIT = 0.9
"""Share of its tightest limit that evolution should have used where the space goes on beyond it."""


def search_warnings(request: Request, result: SearchResult) -> list[str]:
    """Return what the figures of a search alone would not tell a person, a sentence each."""
    candidates = (_doubtful_table(request), _limits_of_another_size(request), _not_converged(request, result))
    return [*(text for text in candidates if text), *warnings(request, result.structure)]


def _doubtful_table(request: Request) -> str:
    latency = request.space.latency
    if latency is None:
        return ""
    if not latency.table.doubt:
        crowd = latency.table.competition
        return (
            crowd and f"of the latency table: {crowd}; `qedeploy measure --fresh` on a quiet machine makes a surer one"
        )
    return (
        f"the latency table is not to be relied on: {latency.table.doubt}; `qedeploy measure --fresh` on a quiet "
        "machine makes a better one"
    )


def _limits_of_another_size(request: Request) -> str:
    """Return a sentence where the recipe's limits are meant for pictures of another size: operations go with pixels."""
    meant, taken = request.named_recipe.resolution, request.recipe.resolution
    kinds = [kind for kind in (BITOPS, EXECUTED_BITOPS, FLOPS) if request.budget_sources.get(kind) == "recipe"]
    if meant == taken or not kinds:
        return ""
    kind, share = kinds[0], (taken / meant) ** 2
    limit = request.budgets[kind]
    return (
        f"the recipe's limit {kind}={format_count(limit)} is meant for pictures of {meant} pixels, and these have "
        f"{taken}: --budget {kind}={format_count(share * limit)} is as much for each pixel"
    )


def _not_converged(request: Request, result: SearchResult) -> str:
    """Return a sentence where evolution ended far from every limit, which a longer one would come nearer to."""
    if result.method != EVOLUTION or not request.budgets:
        return ""
    costs = budget_costs(result.structure, request.space)
    tightest = max(request.budgets, key=lambda kind: costs[kind] / request.budgets[kind])
    used = costs[tightest] / request.budgets[tightest]
    if used >= _FAR_FROM_A_LIMIT:
        return ""
    return (
        f"evolution stopped at {used:.1%} of its tightest limit ({tightest}): it did not converge, unless the space "
        "ends there; give it more --evaluations, or take --method exact"
    )


def warnings(request: Request, structure: Structure) -> list[str]:
    """Return what the figures of a structure alone would not tell a person, a sentence each."""
    costs = budget_costs(structure, request.space)
    executed, nominal = costs[EXECUTED_BITOPS], costs[BITOPS]
    found = []
    if executed > nominal:
        found.append(
            f"{request.profile.name} computes {format_count(executed)} BitOps where the structure has "
            f"{format_count(nominal)}: widths narrower than those it multiplies in save bytes at most, no arithmetic"
        )
    unused = _unused_widths(request, structure)
    if unused:
        found.append(unused)
    if score_is_blind(request.space):
        found.append(
            "the score does not tell the bit pairs of this space apart: its quantization part is a constant, and only "
            "the shape was searched"
        )
    return found


def _unused_widths(request: Request, structure: Structure) -> str | None:
    """Return a sentence on pairs that the device gains from and no layer got, and why; None where all are used."""
    profile, space = request.profile, request.space
    if profile.search_only:
        return None  # Of no device: every width that a paper might ask for.
    native = {category: set(profile.native_pairs(category)) & set(pairs) for category, pairs in space.pairs.items()}
    layers = [layer for layer in expand_layers(structure) if len(native.get(layer.category, ())) > 1]
    used = Counter(layer.bits for layer in layers)
    unused = sorted({bits for layer in layers for bits in native[layer.category]} - used.keys())
    if not unused:
        return None
    bits = max(unused, key=lambda pair: (pair.activation, -pair.weight))
    kinds = {layer.category for layer in layers if bits in native[layer.category]}
    common = Counter(layer.bits for layer in layers if layer.category in kinds).most_common(1)[0][0]
    more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
    return f"no layer with a choice got {bits}{more}: {_why_unused(request, bits, common, kinds)}"


def _why_unused(request: Request, bits: Bits, common: Bits, kinds: Collection[LayerCategory]) -> str:
    """Return why layers of `kinds` have the pair `common` and not `bits`."""
    score = request.recipe.score
    gained = max(score.pair_term(kind, bits) - score.pair_term(kind, common) for kind in kinds)
    ours, theirs = bits.weight * bits.activation, common.weight * common.activation
    if gained >= BLIND_BELOW:
        return f"it scores more than {common}, and what it costs more does not pay within the limits"
    scored = "scores less" if gained <= -BLIND_BELOW else "scores no more"
    operations = "as many" if ours == theirs else "more" if ours > theirs else "fewer"
    found = f"it {scored} than {common} and costs {operations} BitOps"
    if ours < theirs:
        return f"{found}, and what these buy elsewhere scores less"
    if bits.weight < common.weight:
        found += (
            "; it saves bytes, which count only under a limit of size that binds (--budget size=...); what data say "
        )
        found += "decides in `qedeploy quantize` of the trained network"
    return found
