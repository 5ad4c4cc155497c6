"""The object back in the film that it comes from: what its front view shows now, over the film's own frames."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.geometry import transform_cameras
from ds4d.io import on_white, premultiply, resize_premultiplied
from ds4d.preprocess import FilmPlace, VideoConfig
from ds4d.preprocess.raw_video import Footage, read_footage
from ds4d.scene import Scene, draw_rgba
from ds4d.types import Cameras, Renderer

_LONGEST = 4096  # pixels; larger films are overlaid at this size


def read_film(film: Path, place: FilmPlace, config: VideoConfig) -> Footage:
    """The frames of a film that a run was made of, as large as the film.

    Args:
        film: the file.
        place: where the run's pictures lie in it.
        config: how the run read it.

    Raises:
        ValueError: the film has another size.
    """
    framing = place.framing
    longest = min(_LONGEST, max(framing.film_width, framing.film_height, framing.size))
    footage = read_footage(film, replace(config, size=longest))
    if (footage.size.width, footage.size.height) != (framing.film_width, framing.film_height):
        raise ValueError(
            f"--over {film} must be the film that the run was made of, {framing.film_width} x {framing.film_height} "
            f"pixels, got {footage.size.width} x {footage.size.height}. Give that one."
        )
    return footage


def overlay_film(
    scene: Scene, renderer: Renderer, place: FilmPlace, footage: Footage, size: int | None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The film's frames with the object drawn over them where it was filmed; what is transparent becomes white.

    Args:
        scene: of the run.
        renderer: the splatter for the scene's device.
        place: where the pictures lie in the film, and where the camera stood.
        footage: what `read_film` gave.
        size: of the drawing before it is put back, pixels; that of the framed pictures if None.

    Raises:
        ValueError: the film has not as many frames as the run.
    """
    times = torch.tensor(scene.clip.times)
    if len(footage.pictures) != len(times):
        raise ValueError(
            f"--over must be the film that the run was made of, {len(times)} frames, got {len(footage.pictures)}. "
            "Give that one."
        )
    side = size or place.framing.size
    cameras = transform_cameras(scene.world, film_cameras(place, len(times))).resized(side, side)
    for picture, drawn in zip(footage.pictures, draw_rgba(scene, renderer, cameras, times), strict=True):
        height, width = picture.shape[:2]
        above = resize_premultiplied(place.framing.put_back(premultiply(drawn)), width, height)
        yield on_white(_over(above, picture))


def film_cameras(place: FilmPlace, count: int) -> Cameras:
    """The camera that sees the framed pictures of a film, [count, 1], in the user's world; it stands still."""
    viewmats, Ks = torch.tensor(place.viewmat), torch.tensor(place.K)
    size = place.framing.size
    return Cameras(viewmats.expand(count, 1, 4, 4), Ks.expand(count, 1, 3, 3), size, size)


def _over(above: UInt8[np.ndarray, "H W 4"], below: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Premultiplied pictures, one over the other."""
    left = (255 - above[..., 3:].astype(np.uint16)) * below
    return above + ((left + 127) // 255).astype(np.uint8)
