"""Writes evaluation_cases.safetensors: metrics of the evaluation protocols by implementations that are not ds4d's.

Uses nothing of ds4d, so that the cases are independent. Needs, besides the development tools, these packages without
their dependencies (torchvision is not needed: of torch-fidelity, only the network's module is imported):
    pip install --no-deps --target DIR scikit-image==0.26.0 lazy_loader tifffile imageio
    pip install --no-deps --target DIR torch-fidelity==0.4.0 cd-fvd==0.1.1
    PYTHONPATH=DIR python tests/parity/make_evaluation_cases.py

- PSNR and SSIM in range 1 by scikit-image; in the ranges that Consistent4D's script uses by torchmetrics.
- I3D's logits by VideoGPT's network, which cd-fvd ships; the distance of two clips by SciPy's sqrtm, as in that script.
- Inception's features by torch-fidelity's network with torchmetrics' resizing.
- The Fréchet distance by torchmetrics.
- Chamfer distances, F-score, APD and track error by loops over all pairs of points.

Networks have the random weights of `random_weights`, the same on every machine. Inputs and results are stored.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

OUT = Path(__file__).with_name("evaluation_cases.safetensors")


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """Weights that keep the scale of activations: uniform up to sqrt(6 / fan in), batch norms near the identity."""
    stream = np.random.PCG64(seed)  # its raw numbers are guaranteed to stay the same

    def uniform(shape: tuple[int, ...]) -> Tensor:
        numbers = stream.random_raw(int(np.prod(shape))) >> 40  # 24 bits: exact in single precision
        return torch.from_numpy(numbers.astype(np.float32) / 2**23 - 1).reshape(shape)

    weights = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) > 1:
            weights[name] = uniform(shape) * (6 / np.prod(shape[1:])) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            weights[name] = 1 + 0.1 * uniform(shape)
        elif shape:
            weights[name] = 0.1 * uniform(shape)
    return weights


def smooth(count: int, height: int, width: int) -> np.ndarray:
    """Smooth 8-bit frames."""
    coarse = torch.rand(count, 3, 5, 6)
    frames = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    return (frames * 255).round().byte().movedim(1, -1).contiguous().numpy()


def image_cases() -> dict[str, Tensor]:
    """PSNR and SSIM of three pairs of images."""
    from skimage.metrics import peak_signal_noise_ratio as psnr
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    targets = smooth(3, 32, 40)
    images = (targets + np.random.default_rng(0).integers(-20, 20, targets.shape)).clip(0, 255).astype(np.uint8)
    targets[2] = 60 + targets[2] // 4  # a narrow range
    rows: dict[str, list[float]] = {name: [] for name in ("psnr", "ssim", "psnr_target_range", "ssim_joint_range")}
    for image, target in zip(images, targets, strict=True):
        rows["psnr"].append(psnr(target / 255, image / 255, data_range=1))
        rows["ssim"].append(
            structural_similarity(
                target / 255, image / 255, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                channel_axis=-1,
            )
        )  # fmt: skip
        preds, true = (torch.from_numpy(each).movedim(-1, 0)[None].double() for each in (image, target))
        span = float(true.max() - true.min())
        rows["psnr_target_range"].append(float(peak_signal_noise_ratio(preds, true, data_range=span)))
        rows["ssim_joint_range"].append(structural_similarity_index_measure(preds, true).item())  # ty: ignore
    values = {f"image.{name}": torch.tensor(row, dtype=torch.float64) for name, row in rows.items()}
    return {"image.images": torch.from_numpy(images), "image.targets": torch.from_numpy(targets), **values}


def i3d_cases() -> dict[str, Tensor]:
    """Logits of two clips, and Consistent4D's distance of the two."""
    from cdfvd.third_party.i3d.pytorch_i3d import InceptionI3d
    from PIL import Image
    from scipy.linalg import sqrtm

    network = InceptionI3d(400, in_channels=3).eval()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(random_weights(shapes, 1), strict=False)
    clips = np.stack([smooth(11, 40, 52), smooth(11, 40, 52)])
    logits = []
    for clip in clips:
        channels = [[Image.fromarray(frame[..., c].astype(np.float32), mode="F") for c in range(3)] for frame in clip]
        resized = [[np.asarray(c.resize((224, 224), resample=3)) for c in frame] for frame in channels]
        video = torch.from_numpy(np.array(resized)).transpose(0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            logits.append(network(video)[0].double().numpy())
    a, b = logits
    covariances = [np.atleast_2d(np.cov(each)) for each in logits]
    root = sqrtm(covariances[0] @ covariances[1]).real
    distance = (a - b) @ (a - b) + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * np.trace(root)
    return {
        "i3d.clips": torch.from_numpy(clips),
        "i3d.logits": torch.from_numpy(np.stack(logits)),
        "i3d.distance": torch.tensor(distance),
    }


def inception_cases() -> dict[str, Tensor]:
    """Features of two images."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3.__new__(NoTrainInceptionV3)
    shapes: dict[str, tuple[int, ...]] = {}
    found: dict[str, Tensor] = {}

    def load(state: dict[str, Tensor] | None, *args: object) -> dict[str, Tensor]:
        shapes.update({name: tuple(value.shape) for name, value in network.state_dict().items()})
        found.update(random_weights(shapes, 2))
        return {name: found.get(name, torch.tensor(0)) for name in shapes}

    from torch_fidelity import feature_extractor_inceptionv3 as module

    module.load_state_dict_from_url = lambda *args, **kwargs: load(None)
    network.__init__("inception-v3-compat", ["2048"])
    images = smooth(2, 48, 40)
    with torch.no_grad():
        features = network(torch.from_numpy(images).movedim(-1, 1))
    return {"inception.images": torch.from_numpy(images), "inception.features": features.float()}


def frechet_cases() -> dict[str, Tensor]:
    """The distance of two sets of features, by torchmetrics."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 12

        def forward(self, features: Tensor) -> Tensor:
            return features

    metric = FrechetInceptionDistance(feature=Identity(), normalize=False).set_dtype(torch.float64)
    ours, theirs = torch.rand(30, 12).double(), (torch.rand(40, 12) @ torch.rand(12, 12)).double()
    metric.update(theirs, real=True)
    metric.update(ours, real=False)
    return {"frechet.ours": ours, "frechet.theirs": theirs, "frechet.distance": metric.compute().double()}


def shape_cases() -> dict[str, Tensor]:
    """Metrics of moving points by loops over all pairs."""
    random = np.random.default_rng(3)
    truth = random.normal(size=(4, 30, 3)).cumsum(0) * 0.3
    points = truth[:, random.permutation(30)[:25]] + 0.05 * random.normal(size=(4, 25, 3))

    def nearest(a: np.ndarray, b: np.ndarray) -> tuple[list[int], list[float]]:
        """For each row of a, the index and the distance of the nearest row of b."""
        table = [[float(np.sqrt(((x - y) ** 2).sum())) for y in b] for x in a]
        return [row.index(min(row)) for row in table], [min(row) for row in table]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    frames = range(len(truth))
    sides = [max(float(truth[..., axis].max() - truth[..., axis].min()) for axis in (c,)) for c in range(3)]
    diagonal, threshold = sum(side**2 for side in sides) ** 0.5, 0.01 * max(sides)
    chamfers, scores = [], []
    for t in frames:
        to_points, to_truth = nearest(truth[t], points[t])[1], nearest(points[t], truth[t])[1]
        chamfers.append(mean(to_points) + mean(to_truth))
        recall, precision = (mean([float(d < threshold) for d in each]) for each in (to_points, to_truth))
        scores.append(2 * recall * precision / (recall + precision) if recall + precision else 0.0)
    mine, yours = nearest(truth[0], points[0])[0], nearest(points[0], truth[0])[0]
    forward = [float(np.linalg.norm(points[t, mine[i]] - truth[t, i])) for t in frames for i in range(30)]
    backward = [float(np.linalg.norm(truth[t, yours[i]] - points[t, i])) for t in frames for i in range(25)]
    errors = [
        float(np.linalg.norm(points[t, mine[i]] - points[0, mine[i]] - truth[t, i] + truth[0, i])) / diagonal
        for t in frames[1:]
        for i in range(30)
    ]
    within = [mean([float(error < limit) for error in errors]) for limit in (0.01, 0.02, 0.04, 0.08, 0.16)]
    values = {
        "mean_chamfer": mean(chamfers),
        "motion_chamfer": mean(forward) + mean(backward),
        "f_score": mean(scores),
        "track_error": mean(errors),
        "points_within": mean(within),
    }
    inputs = {"shape.points": torch.from_numpy(points), "shape.truth": torch.from_numpy(truth)}
    return inputs | {f"shape.{name}": torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def main() -> None:
    """Makes the cases and writes them beside this file."""
    spec = find_spec("torch_fidelity")
    assert spec is not None, "install torch-fidelity"
    package = ModuleType("torch_fidelity")  # without what its __init__ imports, which needs torchvision
    package.__path__, package.__spec__ = list(spec.submodule_search_locations or ()), spec
    sys.modules["torch_fidelity"] = package
    torch.manual_seed(0)
    tensors = image_cases() | i3d_cases() | inception_cases() | frechet_cases() | shape_cases()
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, OUT)


if __name__ == "__main__":
    main()
