"""Scores of pairs of frames on white: PSNR and SSIM in the ranges that papers use, detail, and wrong colors."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import pad

from ds4d.metrics.ssim import RADIUS, ssim

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_EROSION = 4 / 256  # of the mask inside which detail is measured, as a fraction of the image height
_PALETTE_BITS = 3  # bits per channel that are dropped where the colors of a clip are listed
_OUTLIER = 32.0  # of 255: distance in RGB from every color that the object has


def psnr_of_target_range(image: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    """PSNR in dB with the target's own range (maximum minus minimum) as the peak; infinite for equal images.

    The default of torchmetrics before 1.9, which Consistent4D's script uses: 255 where the target has black and white.
    """
    difference = image.astype(np.float64) - target
    peak = float(target.max()) - float(target.min())
    error = np.square(difference).mean()
    if error == 0:
        return float("inf")
    return float(10 * np.log10(peak**2 / error)) if peak > 0 else float("nan")


def ssim_of_joint_range(image: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    """SSIM over the whole image, with the larger of the two images' ranges (maximum minus minimum) as dynamic range.

    The default of torchmetrics, which Consistent4D's script uses: images are reflected at their borders, so that the
    window of `ssim` fits around every pixel, those of a plain background at the border included. NaN if both are flat.
    """
    span = max(float(each.max()) - float(each.min()) for each in (image, target))
    if span == 0:
        return float("nan")
    padded = (pad(_tensor(each) / span, [RADIUS] * 4, mode="reflect") for each in (image, target))
    return float(ssim(*padded))


def detail_ratio(
    images: UInt8[np.ndarray, "T H W 3"], targets: UInt8[np.ndarray, "T H W 3"], masks: Bool[np.ndarray, "T H W"]
) -> float:
    """Mean length of the luma gradient inside the true mask, of the images over that of the targets.

    1 where as much detail is shown as there is; below for blur, above for ghosting and noise. Masks are eroded by 4 px
    per 256 px of height, so that the silhouette does not count. NaN where nothing is left, or the truth is flat.

    Args:
        images: rendered frames.
        targets: true frames.
        masks: true silhouettes.
    """
    sums = np.zeros(2)
    for image, target, mask in zip(images, targets, masks, strict=True):
        inside = binary_erosion(mask, iterations=max(1, round(_EROSION * len(mask))))
        if inside.any():
            sums += [_gradient(image)[inside].sum(), _gradient(target)[inside].sum()]
    return float(sums[0] / sums[1]) if sums[1] > 0 else float("nan")


def color_outliers(
    images: UInt8[np.ndarray, "T H W 3"],
    targets: UInt8[np.ndarray, "T H W 3"],
    masks: Bool[np.ndarray, "T H W"],
    rendered_masks: Bool[np.ndarray, "T H W"],
) -> float:
    """Percentage of the pixels inside both silhouettes with a color that the object has in no frame of the view.

    The object has a color if a true one is within 32 of 255 (Euclidean, RGB); true colors are listed in steps of 8. NaN
    where the silhouettes do not meet.

    Args:
        images: rendered frames.
        targets: true frames.
        masks: true silhouettes.
        rendered_masks: rendered silhouettes.
    """
    both = masks & rendered_masks
    if not both.any():
        return float("nan")
    listed, _ = _distinct(targets[masks] >> _PALETTE_BITS)
    colors, counts = _distinct(images[both])
    distances, _ = KDTree(listed * 2**_PALETTE_BITS + (2**_PALETTE_BITS - 1) / 2).query(colors)
    return float(100 * counts[distances > _OUTLIER].sum() / counts.sum())


def _distinct(colors: UInt8[np.ndarray, "N 3"]) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, " M"]]:
    """Each color once, and how often it occurs; as whole numbers, which sort faster than rows."""
    codes, counts = np.unique(colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_counts=True)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float64), counts


def _gradient(image: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    rows, columns = np.gradient(image @ _LUMA)
    return np.hypot(rows, columns)


def _tensor(image: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "3 H W"]:
    return torch.from_numpy(image.astype(np.float32)).movedim(-1, 0)
