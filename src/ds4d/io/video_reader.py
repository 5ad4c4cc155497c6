"""Reading video files as a stream of frames."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from ds4d.io.images import Size, premultiply, reduced_size, resize_premultiplied

if TYPE_CHECKING:
    import av

# Decoders that read the alpha of VP8 and VP9; FFmpeg's own silently drop it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_TEXT_CODECS = {"ansi"}  # FFmpeg reads any text file as a video of a terminal


class VideoReader:
    """A video file: reads the times of all frames at once, and frames on request.

    Args:
        path: a file in any format that FFmpeg reads.

    Attributes:
        seconds: time of each frame, increasing, from 0.
        size: size of the frames as displayed.
        missing: number of frames that the file announces but does not hold.

    Raises:
        ValueError: The file is not a video, is truncated before its first frame, or has no frames.
        ImportError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (container, stream):
            # A stream must not be accessed after its file has been closed.
            packets = [packet for packet in container.demux(stream) if packet.size]
            complete = [packet for packet in packets if not packet.is_corrupt]
            stamps = (packet.dts if packet.pts is None else packet.pts for packet in complete if not packet.is_discard)
            self._stamps = sorted({stamp for stamp in stamps if stamp is not None})
            self.seconds = [float(stamp - self._stamps[0]) * float(stream.time_base or 1) for stamp in self._stamps]
            self.missing = max(stream.frames, len(packets)) - len(complete)
            self._aspect = float(stream.sample_aspect_ratio or 1)
        first = next(self._decoded(range(len(self._stamps))), None)
        if first is None:
            raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
        self._rotations = round(first[1].rotation / 90) % 4
        width, height = round(first[1].width * self._aspect), first[1].height
        self.size = Size(height, width) if self._rotations % 2 else Size(width, height)

    def read(
        self, indices: Sequence[int], max_side: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Decodes the video once and yields the frames at `indices` with their index, upright and premultiplied.

        Args:
            indices: indices of frames, increasing; frames that cannot be decoded are skipped.
            max_side: longer side that larger frames are reduced to, pixels.
            alpha: whether to read the file's alpha; the frames are opaque otherwise.
        """
        width, height = reduced_size(self.size, max_side)
        if self._rotations % 2:
            width, height = height, width
        for index, frame in self._decoded(indices):
            if alpha and any(component.is_alpha for component in frame.format.components):
                pixels = resize_premultiplied(premultiply(frame.to_ndarray(format="rgba")), width, height)
            else:
                small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
                pixels = np.dstack((small.to_ndarray(), np.full((height, width), 255, np.uint8)))
            yield index, np.ascontiguousarray(np.rot90(pixels, self._rotations))

    def _decoded(self, indices: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames at these indices, as PyAV decodes them."""
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
    """The first video stream that is not the cover image of an audio file."""
    from av.stream import Disposition

    videos = [
        stream
        for stream in container.streams.video
        if stream.codec_context.name not in _TEXT_CODECS and not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        codecs = {stream.codec_context.name for stream in container.streams}
        raise ValueError(f"{path} must hold a video, got only {', '.join(sorted(codecs))}. Give another file.")
    videos[0].thread_type = "AUTO"
    return videos[0]


def _decoder(stream: Any) -> Any:
    import av

    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    return av.CodecContext.create(name, "r")
