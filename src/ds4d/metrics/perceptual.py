"""How alike rendered and true images look to people."""

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.metrics.lpips import Lpips
from ds4d.metrics.view_scores import on_white


def score_lpips(truth: UInt8[np.ndarray, "T H W 4"], rendered: UInt8[np.ndarray, "T H W 4"], network: Lpips) -> float:
    """LPIPS of one view's images on white at their own size, mean over the frames; 0 for equal ones.

    Args:
        truth: true images, straight alpha.
        rendered: images to be scored, straight alpha.
        network: with its weights, on the device where it works.

    Raises:
        ValueError: the images are smaller than the network can take.
    """
    values = []
    for i in range(len(truth)):  # one by one, whatever the clip's length: the network's maps are large
        pair = (torch.from_numpy(on_white(images[i : i + 1])).permute(0, 3, 1, 2) for images in (rendered, truth))
        values.append(float(network(*(image.to(network.mean) for image in pair))))
    return float(np.mean(values))
