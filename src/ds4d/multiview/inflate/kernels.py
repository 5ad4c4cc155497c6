"""Lower envelopes of parabolas: exact distance transforms and unions of balls by one-dimensional passes.

Compiled by numba at first use and cached on disk; importing this module imports numba.
"""

from typing import no_type_check

import numpy as np

from ds4d.core.numba_kernels import kernel


@no_type_check
@kernel(fast_math=False)
def lower_envelopes(first, end, rows):
    """Replaces each row f by g(i) = min over j of f(j) + (i - j)^2 (Felzenszwalb and Huttenlocher 2012). Items: rows.

    Infinite values have no parabola; a row of infinite values is unchanged.
    """
    length = rows.shape[1]
    apexes = np.empty(length, np.int64)
    bounds = np.empty(length, np.float64)  # where each parabola becomes the lowest
    values = np.empty(length, np.float64)
    for r in range(first, end):
        row = rows[r]
        for i in range(length):
            values[i] = row[i]
        count = 0
        for j in range(length):
            if values[j] == np.inf:
                continue
            start = -np.inf
            while count > 0:
                k = apexes[count - 1]
                start = 0.5 * (j + k + (values[j] - values[k]) / (j - k))
                if start > bounds[count - 1]:
                    break
                count -= 1
            apexes[count] = j
            bounds[count] = start if count > 0 else -np.inf
            count += 1
        current = 0
        for i in range(length):
            if count == 0:
                break
            while current + 1 < count and bounds[current + 1] < i:
                current += 1
            j = apexes[current]
            row[i] = values[j] + (i - j) * (i - j)
