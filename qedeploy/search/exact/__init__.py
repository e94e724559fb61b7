"""The best structure of a space under its budgets, with a proof.

The problem. A structure x is a path: the stem, then block after block, then the head. Its score is a sum over the
blocks, and so is each budgeted cost: with m_t the sum of the ratios of all score stages that end at block t or later,

    score(x) = sum_t m_t * entropy_t(x) + sum_i r_i * ln C_out(end of stage i),      cost_j(x) = sum_t cost_jt(x).

Find the x with the highest score and cost_j(x) <= B_j for all j. Peak memory is a maximum and not a sum: blocks that
break it are left out, and a state remembers the activation width of the next layer, on which this layer's output
depends.

The bound (`completion`, `dual`, `master`). Pay for the limits instead of keeping them: for any prices l_j >= 0,

    score(x) <= score(x) + sum_j l_j * (B_j - cost_j(x))      for every x within the limits.

The right-hand side is again a sum over blocks, with no limit left that ties them together, so dynamic programming over
(stage, channels) finds its maximum D(l) over all x; kernel, ratio, depth and widths are decided inside. D(l) is an
upper bound for every l; the best prices are the shadow prices of the budgets, found by the master problem of Dantzig
and Wolfe. The dynamic program also gives, for each state s, the most that can still follow: f_l(s).

The proof (`labels`, `walk`, `solver`). A label is a path's beginning with its exact score and costs. For any prices,
no completion of it can score more than

    score + sum_j l_j * (B_j - cost_j) + f_l(s),

so it is dropped when that cannot beat the best structure known (several prices are kept: the least bound counts), and
when another label in the same state scores no less and costs no more. When no label is left, the best structure known
is optimal. Walks that drop labels for want of room remember the best bound among those: that is the gap.

Rounding. Bounds are rounded up by 1e-13 of the numbers they are summed from, far more than the rounding of some fifty
additions; structures are judged by `network.costs`, `search.score` and the latency model alone. Counted costs
(operations, bytes, layers) are sums of dyadic fractions, as are latencies, whole multiples of 2^-40 seconds: both are
exact in double precision, in whatever order they are added up.
"""
