"""The loss of renders of the lifted shape from other sides."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ds4d.core import check_ranges
from ds4d.lift_training.images import RandomCameras, Surfaces
from ds4d.lift_training.lifted import camera_of, depth_pair
from ds4d.multiview.depth_pairs import surface_gaussians
from ds4d.multiview.lift.network import Prediction
from ds4d.rendering import renderer_for
from ds4d.types import Gaussians


@dataclass(frozen=True)
class RenderSettings:
    """Renders of the lifted shape, compared with the drawn object.

    Attributes:
        images: images of each step whose shapes are rendered; 0 for none.
        weight: weight of the absolute error of colors and opacities.
    """

    images: int = 0
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_ranges(self, images="[0, inf)", weight="[0, inf)")


def render_error(
    prediction: Prediction,
    inputs: Float[Tensor, "B 8 H W"],
    cameras: RandomCameras,
    other_cameras: RandomCameras,
    other_views: Surfaces,
) -> Float[Tensor, ""]:
    """Mean absolute error of premultiplied colors and opacities of one other view per image.

    Gradients reach depths and colors through centers and colors of the Gaussians; their shapes are taken as given,
    because rotations of round Gaussians have no derivative.

    Args:
        prediction: prediction for the first images of a batch.
        inputs: what the network saw.
        cameras: cameras of these inputs.
        other_cameras: cameras of the other views.
        other_views: the drawn other views.
    """
    size = inputs.shape[-1]
    shaped = surface_gaussians(depth_pair(prediction, inputs, cameras), camera_of(cameras, size))
    gaussians = Gaussians(
        shaped.means, shaped.quats.detach(), shaped.scales.detach(), shaped.opacities.detach(), shaped.sh
    )
    rendered = renderer_for(inputs.device).render(gaussians, camera_of(other_cameras, size))
    mask = other_views.mask[:, None].float()
    color_error = (rendered.colors[:, 0] - other_views.front_colors * mask).abs().mean()
    return color_error + (rendered.alphas[:, 0] - mask).abs().mean()
