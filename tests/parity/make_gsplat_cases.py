"""Writes gsplat_cases.safetensors: gsplat's own images and gradients of four small scenes.

Run on a machine with CUDA and gsplat 1.5.3; uses nothing of ds4d, so that the cases are independent:
    python tests/parity/make_gsplat_cases.py
Scenes, upstream gradients and results are stored, so the test needs no random numbers.
"""

from pathlib import Path

import gsplat
import torch
from safetensors.torch import save_file
from torch import Tensor

OUT = Path(__file__).with_name("gsplat_cases.safetensors")
WIDTH, HEIGHT = 26, 18  # neither is a multiple of a tile
LEARNED = ("means", "quats", "scales", "opacities", "sh")


def look_at_origin(eye: Tensor) -> Tensor:
    """World-to-camera matrix (OpenCV axes) of a camera at `eye` [3] that looks at the origin, +y up."""
    forward = torch.nn.functional.normalize(-eye, dim=0)
    right = torch.nn.functional.normalize(forward.cross(torch.tensor([0.0, 1.0, 0.0]), dim=0), dim=0)
    rotation = torch.stack((right, forward.cross(right, dim=0), forward))
    viewmat = torch.eye(4)
    viewmat[:3, :3] = rotation
    viewmat[:3, 3] = -rotation @ eye
    return viewmat


def scene(
    lead: tuple[int, ...], count: int, bases: int, *, radius: float = 0.5, scale: float = 0.04
) -> dict[str, Tensor]:
    """Random Gaussians [*lead, count] and two cameras at distance 2 per leading entry."""
    eyes = torch.nn.functional.normalize(torch.randn(*lead, 2, 3) * torch.tensor([1.0, 0.4, 1.0]), dim=-1) * 2
    viewmats = torch.stack([look_at_origin(eye) for eye in eyes.reshape(-1, 3)]).reshape(*lead, 2, 4, 4)
    return {
        "means": radius * (2 * torch.rand(*lead, count, 3) - 1),
        "quats": torch.nn.functional.normalize(torch.randn(*lead, count, 4), dim=-1),
        "scales": scale * (0.5 * torch.randn(*lead, count, 3)).exp(),
        "opacities": torch.rand(*lead, count),
        "sh": 0.5 * torch.randn(count, bases, 3),
        "viewmats": viewmats,
        "Ks": torch.tensor([[30.0, 0, 13], [0, 30, 9], [0, 0, 1]]).expand(*lead, 2, 3, 3).contiguous(),
    }


def difficult() -> dict[str, Tensor]:
    """Gaussians behind and beside the cameras, needles, opaque ones; an off-center axis and oblong pixels."""
    values = scene((), 90, 1, radius=2.5, scale=0.1)
    values["scales"] *= torch.tensor([4.0, 1.0, 0.05])
    values["opacities"][::3] = 1
    values["Ks"] = torch.tensor([[36.0, 0, 8], [0, 25, 12], [0, 0, 1]]).expand(2, 3, 3).contiguous()
    return values


def run(values: dict[str, Tensor], *, with_backgrounds: bool) -> dict[str, Tensor]:
    """The case with gsplat's result; images are channels-last as gsplat returns them."""
    lead = values["viewmats"].shape[:-2]
    if with_backgrounds:
        values["backgrounds"] = torch.rand(*lead, 3)
    # Rounded to half precision: exact in the file at half the size.
    values["upstream"] = torch.randn(*lead, HEIGHT, WIDTH, 5).half()

    device = {name: value.float().cuda().requires_grad_() for name, value in values.items()}
    degree = round(values["sh"].shape[-2] ** 0.5) - 1
    times = values["means"].shape[:-2]
    images, alphas, meta = gsplat.rasterization(
        *(device[name] for name in LEARNED[:4]), device["sh"].expand(*times, *values["sh"].shape),
        device["viewmats"].detach(), device["Ks"].detach(), WIDTH, HEIGHT, sh_degree=degree, packed=False,
        backgrounds=device.get("backgrounds"), render_mode="RGB+ED",
    )  # fmt: skip
    meta["means2d"].retain_grad()
    rendered = torch.cat((images, alphas), dim=-1)
    rendered.backward(device["upstream"].detach())
    results = {"rendered": rendered.detach(), "radii": meta["radii"].short(), "grad.means2d": meta["means2d"].grad}
    learned = [*LEARNED, *(["backgrounds"] if with_backgrounds else [])]
    return values | results | {f"grad.{name}": device[name].grad for name in learned}


def main() -> None:
    """Makes all cases and writes them beside this file."""
    torch.manual_seed(0)
    cases = {
        "plain": run(scene((), 80, 1), with_backgrounds=True),
        "moving": run(scene((2,), 50, 4), with_backgrounds=False),
        "degree_3": run(scene((), 40, 16), with_backgrounds=True),
        "difficult": run(difficult(), with_backgrounds=True),
    }
    tensors = {f"{case}.{name}": x.cpu().contiguous() for case, values in cases.items() for name, x in values.items()}
    made_by = {"gsplat": gsplat.__version__, "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
    save_file(tensors, OUT, metadata=made_by)


if __name__ == "__main__":
    main()
