"""Fréchet distances of features, and the closed form that the field calls FVD for a single clip."""

import numpy as np
from jaxtyping import Float


def frechet_distance(a: Float[np.ndarray, "N C"], b: Float[np.ndarray, "M C"]) -> float:
    """Squared Fréchet distance of two Gaussians that are fitted to two sets of features (Heusel et al. 2017, Eq. 6).

    |mean a - mean b|^2 + tr(Sa + Sb - 2 (Sa Sb)^(1/2)) with covariances S of denominator n - 1. Where a set has a
    single row there is no covariance, and the distance is that of the means, as in StyleGAN-V's script.

    With Sa = A^T A, the trace of the root is the sum of the singular values of A B^T: exact also where there are fewer
    rows than channels, for which the root of the product of two covariances loses digits.

    Args:
        a: one feature vector per row.
        b: features to compare with.

    Raises:
        ValueError: a set is empty.
    """
    if not len(a) or not len(b):
        raise ValueError(f"frechet_distance: both sets must have features, got {len(a)} and {len(b)} rows.")
    a, b = a.astype(np.float64), b.astype(np.float64)
    distance = float(np.square(a.mean(0) - b.mean(0)).sum())
    if len(a) == 1 or len(b) == 1:
        return distance
    first, second = (_deviations(rows) for rows in (a, b))
    root = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return max(0.0, distance + float(np.square(first).sum() + np.square(second).sum() - 2 * root))


def clip_distance(a: Float[np.ndarray, " C"], b: Float[np.ndarray, " C"]) -> float:
    """What Consistent4D's script prints as FVD of one clip; no Fréchet distance.

    The script computes the covariance of one row of C logits, which NumPy before 2.2 reads as C observations of one
    variable: |a - b|^2 + (s(a) - s(b))^2 with s the standard deviation over the logits (denominator C - 1).

    Args:
        a: logits of one clip.
        b: logits of the clip to compare with.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.square(a - b).sum() + np.square(a.std(ddof=1) - b.std(ddof=1)))


def _deviations(rows: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """A with A^T A the covariance of the rows."""
    return (rows - rows.mean(0)) / np.sqrt(len(rows) - 1)
