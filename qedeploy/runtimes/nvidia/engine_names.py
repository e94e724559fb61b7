"""What TensorRT calls the layers of an engine, as the ONNX nodes that went into each.

A name is put together from these, in any depth:

| Form | Meaning |
|---|---|
| `a + b` | one kernel computes `a`, then `b` |
| `a || b` | one kernel computes `a` beside `b` |
| `PWN(a, b)` | a kernel of pointwise operations |
| `{ForeignNode[a...b]}` | a region of Myelin's: everything between `a` and `b` |
| `[ONNX Layer: a]` | in a layer's metadata: a node that went into it, one after the other |
| `(Unnamed Layer* 3) [Shuffle]` | an operation that TensorRT added |
| `Reformatting CopyNode for Input Tensor 0 to a` | a copy into another layout |
| `a [profile 1]` | `a` in the optimisation profile 1; without it, in the first |

Read from public logs and issues: TensorRT documents none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_PROFILE = re.compile(r"\s*\[profile (?P<number>\d{1,9})\]\s*$")
_SOURCE = re.compile(r"\[ONNX Layer: (?P<name>[^\]]+)\]")
_REGION = re.compile(r"\{?ForeignNode\[(?P<inside>.*)\](?P<rest>[^\]]*)", re.DOTALL)
_BETWEEN = "..."
_REFORMAT = re.compile(
    r"^Reformatting CopyNode for (?:(?:Input|Output) Tensor \d+ to|Network (?:Input|Output)) (?P<of>.+)"
)
_UNNAMED = re.compile(r"\(Unnamed Layer[*_]? ?\d*\)")
_SEPARATORS = (" + ", " || ", "\x1e", "\x1f")
_DEEPEST = 64
_MOST_CUTS = 8
_DEEPEST_DOTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Everything between two nodes, in the order of execution; each end may be several nodes in one."""

    first: tuple[str, ...]
    last: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineName:
    """The nodes that a name spells out, the regions that it spans, and its optimisation profile, 0 being the first.

    `reformat` says that it copies what `nodes` read or made.
    """

    nodes: tuple[str, ...]
    regions: tuple[Region, ...]
    profile: int
    reformat: bool

    @property
    def mentioned(self) -> tuple[str, ...]:
        """All nodes that the name mentions, those at the ends of its regions included."""
        ends = (node for region in self.regions for node in (*region.first, *region.last))
        return tuple(dict.fromkeys((*self.nodes, *ends)))


def parse_engine_name(text: str) -> EngineName:
    """Return what the name of an engine's layer, or its metadata, says; text of no known form is a node itself.

    >>> parse_engine_name("PWN(a, b) + c || d [profile 1]").nodes
    ('a', 'b', 'c', 'd')
    >>> parse_engine_name("{ForeignNode[a + b...c]}").regions
    (Region(first=('a', 'b'), last=('c',)),)
    """
    profile = 0
    while found := _PROFILE.search(text):
        profile, text = int(found["number"]), text[: found.start()]
    sources = _SOURCE.findall(text)
    if sources:
        # The nodes one by one say more than the region that they are.
        return EngineName(nodes=tuple(dict.fromkeys(sources)), regions=(), profile=profile, reformat=False)
    copied = _REFORMAT.match(text.strip())
    nodes: dict[str, None] = {}
    regions: dict[Region, None] = {}
    for part in _parts(copied["of"] if copied else text, 0):
        if isinstance(part, Region):
            regions[part] = None
        else:
            nodes[part] = None
    return EngineName(nodes=tuple(nodes), regions=tuple(regions), profile=profile, reformat=copied is not None)


def without_profile(name: str) -> str:
    """Return an engine's name without the optimisation profile that it is of.

    >>> without_profile("stem + stem.relu [profile 1]")
    'stem + stem.relu'
    """
    while found := _PROFILE.search(name):
        name = name[: found.start()]
    return name


def names_nothing(node: str) -> bool:
    """Return whether a node is TensorRT's own, so that its name says nothing of the network it is of."""
    return _UNNAMED.search(node) is not None or node.startswith(("__my", "shape_call", "copied_", "Myelin"))


def _parts(text: str, depth: int) -> Iterator[str | Region]:
    text = text.strip()
    pieces = _split(text, _SEPARATORS)
    if len(pieces) > 1 and depth < _DEEPEST:
        for piece in pieces:
            yield from _parts(piece, depth + 1)
        return
    region = _REGION.fullmatch(text)
    if region:
        if depth >= _DEEPEST:
            yield region["inside"]
            return
        pieces = _split(region["inside"], (_BETWEEN,))
        if len(pieces) == 1 and not _REGION.fullmatch(region["inside"].strip()):
            # Brackets in names need not be in pairs.
            pieces = region["inside"].split(_BETWEEN)
        if len(pieces) == 1:
            yield from _parts(region["inside"], depth + 1)
            return
        # A name may hold the dots itself: which node is meant is told by the network that has one of that name.
        cuts = range(1, min(len(pieces), _MOST_CUTS + 1 if depth < _DEEPEST_DOTS else 2))
        yield Region(
            first=_nodes((_BETWEEN.join(pieces[:cut]) for cut in cuts), depth),
            last=_nodes((_BETWEEN.join(pieces[-cut:]) for cut in cuts), depth),
        )
        return
    if text.startswith("PWN(") and text.endswith(")") and depth < _DEEPEST:
        for piece in _split(text[4:-1], (", ", *_SEPARATORS)):
            yield from _parts(piece, depth + 1)
        return
    name = text if _UNNAMED.search(text) else text.strip("{}[]").strip()
    if name:
        yield name


def _nodes(readings: Iterable[str], depth: int) -> tuple[str, ...]:
    """Return the nodes at one end of a region, in every reading of it."""
    found: dict[str, None] = {}
    for text in readings:
        for part in _parts(text, depth + 1):
            found.update(dict.fromkeys((*part.first, *part.last) if isinstance(part, Region) else (part,)))
    return tuple(found)


def _split(text: str, separators: tuple[str, ...]) -> list[str]:
    """Return the pieces of `text` between separators that stand in no brackets."""
    pieces, level, start, place = [], 0, 0, 0
    while place < len(text):
        if text[place] in "([{":
            level += 1
        elif text[place] in ")]}":
            level = max(0, level - 1)
        elif level == 0:
            found = next((item for item in separators if text.startswith(item, place)), None)
            if found:
                pieces.append(text[start:place])
                place += len(found)
                start = place
                continue
        place += 1
    return [*pieces, text[start:]]
