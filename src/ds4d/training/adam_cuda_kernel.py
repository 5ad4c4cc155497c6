"""Adam on a GPU; importing this module imports Triton.

Tensors are given by their addresses, as there are some thirty of different sizes: PLACES holds those of each parameter
and its two moments, NOW the address of its gradient, and as two float32 numbers in one its step size and the root of
the correction of its second moment.
"""

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit
def update(places, sizes, owners, starts, now, factors, beta1, beta2, rest1, rest2, eps, BLOCK: tl.constexpr):
    """One update of parameters and moments in place; `factors` is `now` read as float32. Grid: blocks of values.

    A block holds values of parameter `owners[block]` from `starts[block]` on. What the betas leave to 1 is given, too,
    because float32 would round the difference.
    """
    owner = tl.load(owners + tl.program_id(0))
    i = tl.load(starts + tl.program_id(0)) + tl.arange(0, BLOCK)
    is_inside = i < tl.load(sizes + owner)
    parameter = tl.load(places + 3 * owner).to(tl.pointer_type(tl.float32)) + i
    first = tl.load(places + 3 * owner + 1).to(tl.pointer_type(tl.float32)) + i
    second = tl.load(places + 3 * owner + 2).to(tl.pointer_type(tl.float32)) + i
    gradient = tl.load(tl.load(now + 2 * owner).to(tl.pointer_type(tl.float32)) + i, mask=is_inside, other=0.0)
    step_size, root = tl.load(factors + 4 * owner + 2), tl.load(factors + 4 * owner + 3)
    mean = beta1 * tl.load(first, mask=is_inside, other=0.0) + rest1 * gradient
    square = beta2 * tl.load(second, mask=is_inside, other=0.0) + rest2 * gradient * gradient
    value = tl.load(parameter, mask=is_inside, other=0.0) - step_size * mean / (tl.sqrt(square) / root + eps)
    tl.store(first, mean, mask=is_inside)
    tl.store(second, square, mask=is_inside)
    tl.store(parameter, value, mask=is_inside)
