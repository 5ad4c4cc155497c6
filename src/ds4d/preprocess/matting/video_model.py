"""A pretrained video matting model in an onnx file, with a memory of the frames before, as Robust Video Matting has.

Robust High-Resolution Video Matting with Temporal Guidance (Lin et al. 2022); names and shapes are those of its
published onnx files: inputs `src`, `downsample_ratio` and the states `r1i` to `r4i`, outputs `fgr`, `pha` and the next
states `r1o` to `r4o`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ds4d.preprocess.matting.model import MattingModel, open_session, reason

_COARSE_SIDE = 512  # pixels of the longer side, at which most of the model runs; its authors advise 256 to 512


class VideoMattingModel:
    """A video matting model; runs through a clip in the order of its frames.

    Args:
        path: onnx file of the layout above.
        session: its session (`open_session`), if it is open.

    Raises:
        ValueError: the file does not exist, or is not such a model.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, session: Any = None) -> None:
        self._path, self._session = path, session or open_session(path)
        inputs = [each.name for each in self._session.get_inputs()]
        self._states = {name: f"{name[:-1]}o" for name in inputs if name.startswith("r") and name.endswith("i")}
        outputs = {each.name for each in self._session.get_outputs()}
        wanted = {"src", "downsample_ratio", *self._states}
        if set(inputs) != wanted or not {"pha", *self._states.values()} <= outputs:
            raise ValueError(
                f"matting model {path} must have one image as its input, or src, downsample_ratio and r1i to r4i with "
                f"outputs pha and r1o to r4o, got {inputs[:8]} and {sorted(outputs)[:8]}. Use another model."
            )

    def alphas(self, frames: Iterable[UInt8[np.ndarray, "H W 4"]]) -> Iterator[Float[np.ndarray, "H W"]]:
        """The mattes of the frames of a clip, in [0, 1], one after another.

        Args:
            frames: opaque frames, of one size.

        Raises:
            ValueError: the model cannot be run on these frames, or gives no matte.
        """
        states = {name: np.zeros((1, 1, 1, 1), np.float32) for name in self._states}  # the model's own sign of a start
        for frame in frames:
            height, width = frame.shape[:2]
            ratio = np.array([min(1.0, _COARSE_SIDE / max(height, width))], np.float32)
            colors = frame[..., :3].transpose(2, 0, 1)[None].astype(np.float32) / 255
            given = {"src": colors, "downsample_ratio": ratio, **states}
            try:
                matte, *following = self._session.run(["pha", *self._states.values()], given)
            except Exception as error:  # onnxruntime raises types of its own
                raise ValueError(
                    f"matting model {self._path} must run on images of {width} x {height}, got an error "
                    f"({reason(error)}). Use another model."
                ) from error
            matte = np.asarray(matte, np.float32)
            if matte.shape != (1, 1, height, width) or not np.isfinite(matte).all():
                raise ValueError(
                    f"matting model {self._path} must give finite mattes [1, 1, {height}, {width}], got "
                    f"{list(matte.shape)}. Use another model."
                )
            states = dict(zip(self._states, following, strict=True))
            yield matte[0, 0].clip(0, 1)


def open_matting_model(path: Path) -> MattingModel | VideoMattingModel:
    """The matting model in a file, of either kind: one with several inputs is a video matting model.

    Raises:
        ValueError: the file does not exist, or is no matting model.
        ImportError: onnxruntime is not installed.
    """
    session = open_session(path)
    return (VideoMattingModel if len(session.get_inputs()) > 1 else MattingModel)(path, session)
