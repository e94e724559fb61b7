"""LiteRT's interpreter, with its complaints as this package's errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


def load(content: bytes, *, threads: int = 1, preserve: bool = False, reference: bool = False) -> Interpreter:
    """Return the interpreter of a .tflite file's content, its tensors allocated.

    `reference` takes the kernels that LiteRT's arithmetic is defined by, else the fast ones do it (XNNPACK where it
    can); `preserve` keeps every tensor for reading. Raises ValueError or RuntimeError as LiteRT does.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        # It warns that tensors which are kept take memory.
        warnings.simplefilter("ignore")
        interpreter = Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_preserve_all_tensors=preserve,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO,
        )
        interpreter.allocate_tensors()
    return interpreter
