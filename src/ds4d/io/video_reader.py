"""Reading video files as a stream of frames."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from ds4d.io.bounded_files import check_regular
from ds4d.io.images import Size, premultiply, reduced_size, resize_premultiplied
from ds4d.io.tone_mapping import tone_map, video_color

if TYPE_CHECKING:
    import av

# Decoders that read the alpha of VP8 and VP9; FFmpeg's own silently drop it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
MAX_PIXELS = 8192 * 4608  # of a frame: 8K, with some to spare
_MAX_BYTES = 2**40
_MAX_ASPECT = 16.0  # of a pixel, or its inverse
# Formats that hold their frames themselves. FFmpeg also reads lists of other files and addresses (playlists, concat),
# vector graphics, and any text as a video of a terminal.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,ogg,mpegts,mpeg,flv,asf,mxf,nut,dv,ivf,yuv4mpegpipe,"
    "h264,hevc,m4v,mpegvideo,obu,av1,mjpeg,rm,wtv,mp3,wav,flac,aac"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, "max_pixels": str(MAX_PIXELS)}


def file_url(path: Path) -> str:
    """A path as FFmpeg takes it for a file, whatever its name: `concat:a.mp4` alone would be a protocol of its own."""
    return f"file:{path}"


class VideoReader:
    """A video file: reads the times of all frames at once, and frames on request.

    Args:
        path: a file in a video format that FFmpeg reads, of up to 8K. No other file or address is opened, even if the
            file names one.

    Attributes:
        seconds: time of each frame, increasing, from 0.
        size: size of the frames as displayed.
        missing: number of frames that the file announces but does not hold.
        color: how its colors are coded if they have to be converted to sRGB, as those of HDR videos.

    Raises:
        ValueError: The file is not a video, is truncated before its first frame, has no frames, larger ones, or a codec
            or colors that are not known.
        ImportError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (container, stream):
            # A stream must not be accessed after its file has been closed.
            count, complete, stamps = 0, 0, set()
            for packet in container.demux(stream):
                count += packet.size > 0
                if packet.size and not packet.is_corrupt:
                    complete += 1
                    stamp = packet.dts if packet.pts is None else packet.pts
                    if stamp is not None and not packet.is_discard:
                        stamps.add(stamp)
            self._stamps = sorted(stamps)
            self.seconds = [float(stamp - self._stamps[0]) * float(stream.time_base or 1) for stamp in self._stamps]
            self.missing = max(stream.frames, count) - complete
            self._aspect = float(stream.sample_aspect_ratio or 1)
            coded = stream.codec_context
            codes = {"transfer": coded.color_trc, "primaries": coded.color_primaries, "matrix": coded.colorspace}
        if not 1 / _MAX_ASPECT <= self._aspect <= _MAX_ASPECT:
            raise ValueError(f"{path} must have pixels that are nearly square, got an aspect of {self._aspect:g}.")
        first = next(self._decoded(range(len(self._stamps))), None)
        if first is None:
            raise ValueError(f"{path} must hold frames that can be decoded, got none. Export or download it again.")
        try:
            self.color = video_color(first[1], **{name: int(code) for name, code in codes.items()})
        except ValueError as error:
            raise ValueError(f"{path} {error}") from error
        self._rotations = round(first[1].rotation / 90) % 4
        width, height = round(first[1].width * self._aspect), first[1].height
        self.size = Size(height, width) if self._rotations % 2 else Size(width, height)

    def read(
        self, indices: Sequence[int], max_side: int, *, alpha: bool
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 4"]]]:
        """Decodes the video once and yields the frames at `indices` with their index, upright, in sRGB, premultiplied.

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
                pixels = resize_premultiplied(premultiply(self._rgba(frame)), width, height)
            else:
                depth = "rgb24" if self.color is None else "rgb48le"
                small = frame.reformat(width=width, height=height, format=depth, interpolation="AREA").to_ndarray()
                small = small if self.color is None else tone_map(small, self.color)
                pixels = np.dstack((small, np.full((height, width), 255, np.uint8)))
            yield index, np.ascontiguousarray(np.rot90(pixels, self._rotations))

    def _rgba(self, frame: Any) -> UInt8[np.ndarray, "H W 4"]:
        """A frame with straight alpha, in sRGB."""
        if self.color is None:
            return frame.to_ndarray(format="rgba")
        deep = frame.to_ndarray(format="rgba64le")
        return np.dstack((tone_map(deep[..., :3], self.color), np.rint(deep[..., 3] / 257).astype(np.uint8)))

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
        check_regular(self.path, max_bytes=_MAX_BYTES)
        try:
            with av.open(file_url(self.path), options=_OPTIONS) as container:
                yield container, _video_stream(container, self.path)
        except av.error.FFmpegError as error:
            raise ValueError(
                f"{self.path} must be a whole video file, got one that cannot be read ({error.strerror}). "
                "Export or download it again."
            ) from error


def _video_stream(container: Any, path: Path) -> Any:
    """The first video stream that is not the cover image of an audio file."""
    from av.stream import Disposition

    known = [stream for stream in container.streams.video if stream.codec_context is not None]
    videos = [stream for stream in known if not stream.disposition & Disposition.attached_pic]
    if not videos:
        contexts = [stream.codec_context for stream in container.streams]
        codecs = {"a codec that is not known" if context is None else context.name for context in contexts}
        raise ValueError(
            f"{path} must hold a video, got only {', '.join(sorted(codecs)) or 'an empty file'}. Give another file."
        )
    width, height = videos[0].codec_context.width, videos[0].codec_context.height
    if width * height > MAX_PIXELS:
        raise ValueError(f"{path} must have at most {MAX_PIXELS} pixels, got {width} x {height}. Export it smaller.")
    videos[0].codec_context.options = {"max_pixels": str(MAX_PIXELS)}  # frames may differ from what the header says
    videos[0].thread_type = "AUTO"
    return videos[0]


def _decoder(stream: Any) -> Any:
    import av

    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return stream.codec_context
    decoder = av.CodecContext.create(name, "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    return decoder
