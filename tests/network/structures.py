"""Structures for property tests: any that the description allows, small enough to be quick."""

from __future__ import annotations

from hypothesis import strategies as st

from qedeploy.network.structure import Bits, Block, Classifier, Convolution, Stage, Structure

bits = st.builds(Bits, weight=st.integers(1, 16), activation=st.integers(1, 16))
blocks = st.builds(Block, expand=bits, depthwise=bits, project=bits)
kernels = st.sampled_from([1, 3, 5, 7])
strides = st.sampled_from([1, 2])
channels = st.integers(1, 320)
convolutions = st.builds(Convolution, out_channels=channels, kernel=kernels, stride=strides, bits=bits)
stages = st.builds(
    Stage,
    out_channels=channels,
    bottleneck_channels=channels,
    kernel=kernels,
    stride=strides,
    blocks=st.lists(blocks, min_size=1, max_size=3).map(tuple),
)


def structures(resolutions: st.SearchStrategy[int] = st.integers(1, 512)) -> st.SearchStrategy[Structure]:
    return st.builds(
        Structure,
        stem=convolutions,
        stages=st.lists(stages, min_size=1, max_size=4).map(tuple),
        head=convolutions,
        classifier=st.builds(Classifier, classes=st.integers(1, 1000), bits=bits),
        resolution=resolutions,
        input_channels=st.integers(1, 4),
    )
