"""Lists the projected Gaussians of each tile, nearest first.

Visible Gaussians are ranked by depth within their image. Each (Gaussian, tile) pair gets a slot; the slots of a rank
are consecutive, and `entries` lists the slots of a tile in rank order. Gradients are written to slots, each of which
belongs to one tile, and then summed per rank, so that the order of every sum is fixed.
"""

import math
from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import kernel
from ds4d.rendering.settings import ALPHA_CUT

# Slack on the squared Mahalanobis radius, so that rounding never drops a pixel that reaches the alpha threshold.
LEVEL_SLACK = 0.01
# Columns of a record: what the compositor reads of a visible Gaussian, in consecutive memory.
RECORD = 10  # mean x, y; conic a, b, c; opacity; color r, g, b; depth
# Below this fraction of a c, a conic's determinant a c - b^2 is too inexact in float32 to bound the ellipse by it.
MIN_ROUNDNESS = 1e-3


@no_type_check
@kernel(fast_math=False)
def _solve_ellipse(a, b, c, level):
    """The ellipse a x^2 + 2 b x y + c y^2 = level as x = -slope y +- sqrt(reach - shrink y^2).

    Returns slope, reach, shrink and the half height; a band of all x if the ellipse is too thin to compute.
    """
    determinant = a * c - b * b
    if not determinant > MIN_ROUNDNESS * a * c:
        return 0.0, np.inf, 0.0, np.inf
    inverse = 1 / a
    return b * inverse, level * inverse, determinant * inverse * inverse, math.sqrt(a * level / determinant)


@no_type_check
@kernel(fast_math=False)
def _extent_in_band(slope, reach, shrink, extreme_y, low, high):
    """Range of x of an ellipse in a band low <= y <= high that it meets; its rightmost point is at y = extreme_y."""
    right_y = min(max(extreme_y, low), high)
    left_y = min(max(-extreme_y, low), high)
    right = math.sqrt(max(0.0, reach - shrink * right_y * right_y)) - slope * right_y
    left = -math.sqrt(max(0.0, reach - shrink * left_y * left_y)) - slope * left_y
    return left, right


@no_type_check
@kernel(fast_math=False)
def _pixel_range(center, left, right, size):
    """First and one past the last of `size` pixels whose centers are in center + [left, right]."""
    first = min(max(center + left - 0.5, 0.0), float(size))
    last = min(max(center + right - 0.5, -1.0), size - 1.0)
    return math.ceil(first), math.floor(last) + 1


@no_type_check
@kernel(fast_math=False)
def _sort_by_depth(keys, order, spare):
    """Sorts `order` (indices into keys) by keys: a stable radix sort, 11 bits at a time.

    The bits of positive floats increase with their value.
    """
    for shift in (0, 11, 22):
        starts = np.zeros(2049, np.int64)
        for n in order:
            starts[((keys[n] >> shift) & 2047) + 1] += 1
        starts = np.cumsum(starts)
        for n in order:
            digit = (keys[n] >> shift) & 2047
            spare[starts[digit]] = n
            starts[digit] += 1
        for i in range(len(order)):
            order[i] = spare[i]


@no_type_check
@kernel(fast_math=False)
def _rank_image(depths, radii, means2d, width, height, tile_width, tile_height, order):
    """One image of `rank`."""
    visible = 0
    pairs = 0
    for n in range(len(depths)):
        if radii[n, 0] > 0:
            order[visible] = n
            visible += 1
            x0, x1 = _pixel_range(means2d[n, 0], -radii[n, 0], radii[n, 0], width)
            y0, y1 = _pixel_range(means2d[n, 1], -radii[n, 1], radii[n, 1], height)
            columns = (x1 + tile_width - 1) // tile_width - x0 // tile_width
            rows = (y1 + tile_height - 1) // tile_height - y0 // tile_height
            pairs += max(0, columns) * max(0, rows)
    _sort_by_depth(depths.view(np.uint32), order[:visible], np.empty(visible, np.int32))
    return visible, pairs


@no_type_check
@kernel(fast_math=False)
def rank(first, end, depths, radii, means2d, width, height, tile_width, tile_height, order, visible, bounds):
    """Sorts the visible Gaussians of each image by depth. Items: I.

    Fills order [I,N] (indices of Gaussians; the first visible[i] count), visible [I] and bounds [I], an upper bound of
    the number of (Gaussian, tile) pairs.
    """
    for i in range(first, end):
        visible[i], bounds[i] = _rank_image(
            depths[i], radii[i], means2d[i], width, height, tile_width, tile_height, order[i]
        )


@no_type_check
@kernel(fast_math=False)
def _fill_record(record, mean, conic, opacity, color, depth):
    record[0], record[1] = mean[0], mean[1]
    record[2], record[3], record[4] = conic[0], conic[1], conic[2]
    record[5] = opacity
    record[6], record[7], record[8] = color[0], color[1], color[2]
    record[9] = depth


@no_type_check
@kernel(fast_math=False)
def _list_tiles(record, radii, width, height, tile_width, tile_height, tile_of, rows, cursor):
    """Writes the tiles that the ellipse of `record` meets, and its rows in them, from `cursor` on.

    No tile outside the box of `radii` is written. Returns the new value of `cursor`.
    """
    x, y = float(record[0]), float(record[1])
    a, b, c = float(record[2]), float(record[3]), float(record[4])
    across = (width + tile_width - 1) // tile_width
    level = 2 * math.log(record[5] / ALPHA_CUT) + LEVEL_SLACK
    slope_x, reach_x, shrink_x, half_height = _solve_ellipse(a, b, c, level)
    slope_y, reach_y, shrink_y, half_width = _solve_ellipse(c, b, a, level)
    lowest_x = -slope_x * half_height if slope_x != 0 else 0.0  # of the ellipse's lowest point
    rightmost_y = -slope_y * half_width if slope_y != 0 else 0.0  # of its rightmost point
    half_width, half_height = min(half_width, radii[0]), min(half_height, radii[1])
    first_row, end_row = _pixel_range(y, -half_height, half_height, height)
    for tile_row in range(first_row // tile_height, (end_row + tile_height - 1) // tile_height):
        top = tile_row * tile_height
        low = top + 0.5 - y
        left, right = _extent_in_band(slope_x, reach_x, shrink_x, rightmost_y, low, low + tile_height - 1)
        first, end = _pixel_range(x, max(left, -half_width), min(right, half_width), width)
        for tile_column in range(first // tile_width, (end + tile_width - 1) // tile_width):
            low = tile_column * tile_width + 0.5 - x
            above, below = _extent_in_band(slope_y, reach_y, shrink_y, lowest_x, low, low + tile_width - 1)
            start, stop = _pixel_range(y - top, above, below, tile_height)
            if start < stop:
                tile_of[cursor] = tile_row * across + tile_column
                rows[cursor, 0], rows[cursor, 1] = start, stop
                cursor += 1
    return cursor


@no_type_check
@kernel(fast_math=False)
def _group_by_tile(tile_of, base, entries, tiles):
    """Counting sort of the slots base, base + 1, ... by their tile; stable, so that ranks stay in order."""
    tiles[:] = 0
    tiles[0] = base
    for tile in tile_of:
        tiles[tile + 1] += 1
    for k in range(1, len(tiles)):
        tiles[k] += tiles[k - 1]
    nexts = tiles.copy()
    for k in range(len(tile_of)):
        entries[nexts[tile_of[k]]] = base + k
        nexts[tile_of[k]] += 1


@no_type_check
@kernel(fast_math=False)
def _bin_image(
    means2d, conics, opacities, colors, depths, radii, width, height, tile_width, tile_height, order, base, bound,
    slots, records, ranks, rows, entries, tiles,
):  # fmt: skip
    """One image of `bin_tiles`: `base` is its first pair, `bound` the number of pairs it may write."""
    tile_of = np.empty(bound, np.int32)
    cursor = 0
    for r in range(len(order)):
        n = order[r]
        _fill_record(records[r], means2d[n], conics[n], opacities[n], colors[n], depths[n])
        slots[r] = base + cursor
        first = cursor
        cursor = _list_tiles(records[r], radii[n], width, height, tile_width, tile_height, tile_of, rows[base:], cursor)
        ranks[base + first : base + cursor] = r
    slots[len(order)] = base + cursor
    _group_by_tile(tile_of[:cursor], base, entries, tiles)


@no_type_check
@kernel(fast_math=False)
def bin_tiles(
    first, end, means2d, conics, opacities, colors, depths, radii, width, height, tile_width, tile_height,
    order, visible, bases, slots, records, ranks, rows, entries, tiles,
):  # fmt: skip
    """Lists the Gaussians of each tile. Items: I.

    Args are means2d [I,N,2], conics [I,N,3], depths [I,N], radii [I,N,2]; opacities [I/k,N] and colors [I/m,N,3]
    shared by runs of k and m images; order, visible from `rank`; bases [I+1], where each image's pairs begin.
    Fills slots [I,N+1], where each rank's slots begin; records [I,N,RECORD] in rank order; per slot ranks [pairs] and
    rows [pairs,2], the first and one past the last row of the tile that the Gaussian covers; entries [pairs], the
    slots of the tiles; tiles [I,tiles+1], where each tile's entries begin.
    """
    images = len(visible)
    per_opacity, per_color = images // max(1, opacities.shape[0]), images // max(1, colors.shape[0])
    for i in range(first, end):
        _bin_image(
            means2d[i], conics[i], opacities[i // per_opacity], colors[i // per_color], depths[i], radii[i],
            width, height, tile_width, tile_height, order[i, : visible[i]], bases[i], bases[i + 1] - bases[i],
            slots[i], records[i], ranks, rows, entries, tiles[i],
        )  # fmt: skip
