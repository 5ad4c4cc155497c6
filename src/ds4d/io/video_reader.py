"""Frames of a video file, decoded in a stream."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from ds4d.io.images import premultiply, resize_premultiplied
from ds4d.io.sizes import Size, reduced

if TYPE_CHECKING:
    import av

# Decoders that read the alpha of VP8 and VP9; FFmpeg's own drop it without a word.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_TEXT = {"ansi"}  # FFmpeg takes any text for a video of a terminal


class VideoReader:
    """A video file: the times of its frames, and its frames when asked for.

    Args:
        path: anything that FFmpeg reads.

    Attributes:
        seconds: the time of every frame, rising, from 0.
        size: width and height of the frames as they are shown, pixels.
        missing: how many frames the file promises and does not hold.

    Raises:
        ValueError: the file is no video, is cut off before its first frame, or holds none.
        ImportError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (container, stream):
            # Nothing of a stream may be touched once its file is closed.
            packets = [packet for packet in container.demux(stream) if packet.size]
            whole = [packet for packet in packets if not packet.is_corrupt]
            stamps = (packet.dts if packet.pts is None else packet.pts for packet in whole if not packet.is_discard)
            self._stamps = sorted({stamp for stamp in stamps if stamp is not None})
            self.seconds = [float(stamp - self._stamps[0]) * float(stream.time_base or 1) for stamp in self._stamps]
            self.missing = max(stream.frames, len(packets)) - len(whole)
            self._aspect = float(stream.sample_aspect_ratio or 1)
        first = next(self._decoded(range(len(self._stamps))), None)
        if first is None:
            raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
        self._turns = round(first[1].rotation / 90) % 4
        width, height = round(first[1].width * self._aspect), first[1].height
        self.size = Size(height, width) if self._turns % 2 else Size(width, height)

    def read(
        self, indices: Sequence[int], most: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Decodes the video once and yields the frames asked for, upright, premultiplied, as they come.

        Args:
            indices: rising; those that cannot be decoded are left out.
            most: the longer side is reduced to this, pixels.
            alpha: whether the file's alpha is read; else the frames are opaque.
        """
        shown = reduced(self.size, most)
        width, height = (shown.height, shown.width) if self._turns % 2 else (shown.width, shown.height)
        for index, frame in self._decoded(indices):
            if alpha and any(component.is_alpha for component in frame.format.components):
                pixels = resize_premultiplied(premultiply(frame.to_ndarray(format="rgba")), width, height)
            else:
                small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                pixels = np.dstack((small.to_ndarray(), np.full((height, width), 255, np.uint8)))
            yield index, np.ascontiguousarray(np.rot90(pixels, self._turns))

    def _decoded(self, indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames at these indices as PyAV gives them."""
        import av

        wanted = {self._stamps[index]: index for index in indices}
        with self._opened() as (container, stream):
            decoder = _decoder(stream)
            for packet in container.demux(stream):
                try:
                    frames = decoder.decode(packet if packet.size else None)
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    if frame.pts in wanted:
                        yield wanted.pop(frame.pts), frame
                if not wanted:
                    return

    @contextmanager
    def _opened(self) -> "Generator[tuple[av.container.InputContainer, av.VideoStream]]":
        try:
            import av
        except ImportError as error:
            raise ImportError(f"reading {self.path} needs PyAV. Install it with: pip install av") from error
        if not self.path.is_file():
            raise ValueError(f"{self.path} must be a video or a folder of images, got nothing there. Check the path.")
        try:
            with av.open(str(self.path)) as container:
                yield container, _video_stream(container, self.path)
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path} must be a whole video file, got one that cannot be read ({error.strerror}). "
                "Export or download it again."
            ) from error


def _video_stream(container: Any, path: Path) -> Any:
    """The video stream; the cover image of a piece of music is none."""
    from av.stream import Disposition

    videos = [
        stream
        for stream in container.streams.video
        if stream.codec_context.name not in _TEXT and not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        codecs = {stream.codec_context.name for stream in container.streams}
        raise ValueError(f"{path} must hold a video, got none in it ({', '.join(sorted(codecs))}). Name another file.")
    videos[0].thread_type = "AUTO"
    return videos[0]


def _decoder(stream: Any) -> Any:
    import av

    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    return av.CodecContext.create(name, "r")
