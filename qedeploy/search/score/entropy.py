"""Entropy of a quantized Gaussian: the S(sigma, bits) of QE-Score."""

from __future__ import annotations

import math
from functools import lru_cache

from qedeploy.errors import UserError
from qedeploy.network.structure import MAX_BITS


@lru_cache(maxsize=1024)
def quantized_deviation(sigma: float, bits: int) -> float:
    """Return the standard deviation of clip(round(X), -2^(bits-1), 2^(bits-1)) for X ~ N(0, sigma^2), step 1.

    The clip is inclusive and symmetric (2^bits + 1 levels), as in the reference's table (LightNAS, Sun et al. 2022).
    `sigma` > 0 in steps, `bits` 1..16; raises UserError outside these.

    E[Q^2] = sum over q of q^2 P(Q = q). With q^2 = sum over j <= q of (2j - 1) that becomes a sum of Gaussian tails,
    all terms positive, so that nothing cancels.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise UserError(f"sigma: expected a positive number, found {sigma}")
    if not 1 <= bits <= MAX_BITS:
        raise UserError(f"bits: expected 1 to {MAX_BITS}, found {bits}")
    levels = 1 << (bits - 1)
    tails = []
    for level in range(1, levels + 1):
        tail = math.erfc((level - 0.5) / (sigma * math.sqrt(2)))
        if tail == 0.0:
            break
        tails.append((2 * level - 1) * tail)
    return math.sqrt(math.fsum(tails))
