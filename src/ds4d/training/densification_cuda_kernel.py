"""The sums that densification goes by, on a GPU; importing this module imports Triton."""

from typing import no_type_check

import triton
import triton.language as tl


@no_type_check
@triton.jit(do_not_specialize=["count"])  # new with each densification
def add(gradients, radii, sums, counts, count, half_width, half_height, IMAGES: tl.constexpr, BLOCK: tl.constexpr):
    """Adds lengths of gradients [B, N, 2] where radii [B, N, 2] are above 0, and how many are. Grid: blocks of N."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_inside = n < count
    total, seen = tl.load(sums + n, mask=is_inside, other=0.0), tl.load(counts + n, mask=is_inside, other=0.0)
    at, radius = gradients + 2 * n, radii + 2 * n
    for _ in range(IMAGES):
        is_visible = tl.load(radius, mask=is_inside, other=0) > 0
        is_visible = is_visible & (tl.load(radius + 1, mask=is_inside, other=0) > 0)
        x = tl.load(at, mask=is_inside, other=0.0) * half_width
        y = tl.load(at + 1, mask=is_inside, other=0.0) * half_height
        shown = tl.where(is_visible, 1.0, 0.0)
        total += tl.sqrt(x * x + y * y) * shown
        seen += shown
        at += 2 * count
        radius += 2 * count
    tl.store(sums + n, total, mask=is_inside)
    tl.store(counts + n, seen, mask=is_inside)
