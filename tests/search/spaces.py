"""Search spaces made by hand, small enough to list or odd enough to break something."""

from __future__ import annotations

from hypothesis import strategies as st

from qedeploy.latency.predictor import LatencyModel
from qedeploy.network.layers import LayerCategory
from qedeploy.network.structure import Bits, Block, Classifier
from qedeploy.profiles.capabilities import memory_plan_of
from qedeploy.profiles.memory_plan import MemoryPlan
from qedeploy.search.score.kinds.qe_score import QeScore, score_stages
from qedeploy.search.space.space import BitsPer, SearchSpace
from tests.search.made_up_latency import MadeUpLatency

W8A8, W4A16, W4A4, W8A4 = (
    Bits(weight=weight, activation=activation) for weight, activation in ((8, 8), (4, 16), (4, 4), (8, 4))
)


def make_space(
    *,
    pointwise: tuple[Bits, ...] = (W4A4, W8A8),
    depthwise: tuple[Bits, ...] = (W4A4, W8A8),
    bits_per: BitsPer = BitsPer.BLOCK,
    strides: tuple[int, ...] = (2, 2, 2, 1, 2),
    channels: tuple[int, ...] = tuple(range(8, 1288, 8)),
    stem_channels: tuple[int, ...] = (8, 16, 24, 32),
    stem_bits: Bits = W8A8,
    kernels: tuple[int, ...] = (3, 5),
    ratios: tuple[float, ...] = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0),
    depths: tuple[int, ...] = (1, 2, 3),
    resolution: int = 224,
    head_channels: int = 1280,
    latency: LatencyModel | None = None,
    memory_plan: MemoryPlan | None = None,
) -> SearchSpace:
    pairs = {LayerCategory.POINTWISE: pointwise, LayerCategory.DEPTHWISE: depthwise, LayerCategory.HEAD: pointwise}
    executed = {
        (kind, bits): W8A8 if bits != W4A16 else Bits(weight=16, activation=16)
        for kind, known in {LayerCategory.STEM: (stem_bits,), **pairs}.items()
        for bits in known
    }
    ends = score_stages((2, *strides, 1))
    return SearchSpace(
        resolution=resolution,
        stem_channels=stem_channels,
        stem_kernel=3,
        stem_stride=2,
        stem_bits=stem_bits,
        strides=strides,
        channels=channels,
        kernels=kernels,
        ratios=ratios,
        depths=(depths,) * len(strides),
        bits_per=bits_per,
        block_choices=tuple(
            Block(expand=pair, depthwise=middle, project=pair)
            for pair in pointwise
            for middle in ((pair,) if pair in depthwise else depthwise)
        ),
        pairs=pairs,
        executed=executed,
        head_channels=head_channels,
        classifier=Classifier(),
        score=QeScore(stage_ratios=(0.0, 0.0, 1.0, 1.0, 6.0)[-len(ends) :]),
        latency=latency,
        memory_plan=memory_plan,
    )


PAIRS = st.lists(
    st.sampled_from([W4A4, W8A8, W8A4, W4A16, Bits(weight=3, activation=6), Bits(weight=5, activation=2)]),
    min_size=1,
    max_size=3,
    unique=True,
).map(lambda found: tuple(sorted(found)))


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    channels = tuple(sorted(draw(st.sets(st.integers(1, 12), min_size=1, max_size=4))))
    stems = draw(st.sets(st.integers(1, channels[-1]), min_size=1, max_size=2))
    pointwise, depthwise = draw(PAIRS), draw(PAIRS)
    # LiteRT's files are of at most 8 bits, and it is what plans memory ahead.
    narrow = W4A16 not in {*pointwise, *depthwise}
    return make_space(
        pointwise=pointwise,
        depthwise=depthwise,
        bits_per=draw(st.sampled_from(BitsPer)),
        strides=tuple(draw(st.lists(st.sampled_from([1, 2]), min_size=1, max_size=4))),
        channels=tuple(8 * channel for channel in channels),
        stem_channels=tuple(sorted(8 * stem for stem in stems)),
        kernels=draw(st.sampled_from([(3,), (3, 5), (1, 7)])),
        ratios=draw(st.sampled_from([(1.5,), (1.0, 1.5, 4.0), (0.3, 2.0)])),
        depths=draw(st.sampled_from([(1,), (2,), (1, 2, 4), (1, 3)])),
        resolution=draw(st.sampled_from([32, 96, 97, 224])),
        head_channels=draw(st.sampled_from([8, 24, 1280])),
        latency=MadeUpLatency(draw(st.integers(0, 1000))),
        memory_plan=memory_plan_of("litert") if narrow else None,
    )
