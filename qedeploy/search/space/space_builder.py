"""From a recipe and a profile to the SearchSpace both allow."""

from __future__ import annotations

from dataclasses import fields

from qedeploy.errors import RequestError
from qedeploy.latency.predictor import LatencyModel
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Classifier
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.profiles.profile import Profile
from qedeploy.search.space.recipe import Recipe
from qedeploy.search.space.space import Choices, SearchSpace
from qedeploy.words import listed


def build_space(recipe: Recipe, profile: Profile, latency: LatencyModel | None = None) -> SearchSpace:
    """Return every structure that `recipe` describes and `profile` runs.

    Where the recipe leaves the widths to the profile, only pairs that the device executes natively are used; where it
    names widths, every pair of the profile among them, carried ones too. Raises RequestError naming profile, kind and
    the pairs on both sides where that leaves a kind without any, and for a pair that `latency` has no times of.
    """
    pairs = {
        LayerCategory.POINTWISE: _allowed(recipe.bits, profile, LayerCategory.POINTWISE, recipe),
        LayerCategory.DEPTHWISE: _allowed(recipe.bits, profile, LayerCategory.DEPTHWISE, recipe),
        LayerCategory.HEAD: _allowed(recipe.head_bits, profile, LayerCategory.HEAD, recipe),
    }
    stem = _allowed((recipe.stem_bits,), profile, LayerCategory.STEM, recipe)
    classifier = _allowed((recipe.classifier_bits,), profile, LayerCategory.CLASSIFIER, recipe)
    if latency is not None:
        for kind, found in {LayerCategory.STEM: stem, **pairs, LayerCategory.CLASSIFIER: classifier}.items():
            for bits in found:
                latency.require(kind, bits)
    return SearchSpace(
        **{field.name: getattr(recipe, field.name) for field in fields(Choices)},
        block_choices=_block_choices(pairs[LayerCategory.POINTWISE], pairs[LayerCategory.DEPTHWISE]),
        pairs=pairs,
        executed={
            (kind, bits): _executed(profile, kind, bits)
            for kind, kind_pairs in {LayerCategory.STEM: stem, **pairs}.items()
            for bits in kind_pairs
        },
        classifier=Classifier(classes=recipe.classes, bits=recipe.classifier_bits),
        latency=latency,
        memory_plan=memory_plan_of(profile.runtime),
    )


def _allowed(asked: tuple[Bits, ...] | None, profile: Profile, kind: LayerCategory, recipe: Recipe) -> tuple[Bits, ...]:
    if asked is None:
        return tuple(sorted(profile.native_pairs(kind)))
    offered = profile.pairs(kind)
    found = tuple(sorted(set(asked) & set(offered)))
    if not found:
        raise RequestError(
            f"profile {profile.name} has none of the pairs that recipe {recipe.name} names for {kind} layers "
            f"({listed(asked, 12)}); it has {listed(offered, 12)}"
        )
    return found


def _block_choices(pointwise: tuple[Bits, ...], depthwise: tuple[Bits, ...]) -> tuple[Block, ...]:
    # One pair for the whole block where both kinds have it, as the reference has it; else the pointwise layers share
    # one pair and the depthwise layer takes any of its own.
    return tuple(
        Block(expand=pair, depthwise=middle, project=pair)
        for pair in pointwise
        for middle in ((pair,) if pair in depthwise else depthwise)
    )


def _executed(profile: Profile, kind: LayerCategory, bits: Bits) -> Bits:
    precision = profile.precision(kind, bits)
    return bits if precision is None else precision.lowering.executed(bits)
