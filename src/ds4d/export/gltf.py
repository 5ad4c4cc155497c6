"""Binary glTF files with the Khronos extension KHR_gaussian_splatting.

A mesh of points with, per point: POSITION, ROTATION (xyzw), SCALE (standard deviations), OPACITY, the spherical
harmonics SH_DEGREE_l_COEF_n, and COLOR_0 for programs without the extension. glTF is y-up.
"""

from pathlib import Path

import numpy as np

from ds4d.export.glb import GlbFile
from ds4d.export.single_frame import check_single_frame
from ds4d.geometry.spherical_harmonics import SH0, sh_degree
from ds4d.io import to_linear
from ds4d.types import RawGaussians

EXTENSION = "KHR_gaussian_splatting"


def write_gltf(raw: RawGaussians, path: str | Path) -> None:
    """Writes the Gaussians of one frame, atomically, with all their coefficients.

    Args:
        raw: Gaussians without a time axis, +y up.
        path: the file (.glb).

    Raises:
        ValueError: `raw` has a time axis, or holds NaN or infinity.
    """
    active = check_single_frame(raw, "write_gltf", path).activate()
    file, opacities, sh = GlbFile(), active.opacities[:, None].numpy(), active.sh.numpy()
    plain = to_linear(np.clip(SH0 * sh[:, 0] + 0.5, 0, 1))
    fallback = np.rint(255 * np.concatenate((plain, opacities), axis=1)).astype(np.uint8)
    attributes = {
        "POSITION": file.add(active.means.numpy(), "attribute", bounds=True),
        "COLOR_0": file.add(fallback, "attribute", normalized=True),
        f"{EXTENSION}:ROTATION": file.add(active.quats.roll(-1, 1).numpy(), "attribute"),
        f"{EXTENSION}:SCALE": file.add(active.scales.numpy(), "attribute"),
        f"{EXTENSION}:OPACITY": file.add(opacities, "attribute"),
    }
    for degree in range(sh_degree(sh.shape[1]) + 1):
        for order in range(2 * degree + 1):
            name = f"{EXTENSION}:SH_DEGREE_{degree}_COEF_{order}"
            attributes[name] = file.add(sh[:, degree**2 + order], "attribute")
    kernel = {"kernel": "ellipse", "colorSpace": "srgb_rec709_display"}
    primitive = {"mode": 0, "attributes": attributes, "extensions": {EXTENSION: kernel}}
    file.write(
        path,
        {
            "extensionsUsed": [EXTENSION],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
        },
    )
