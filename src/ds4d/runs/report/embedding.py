"""Videos and images embedded into the page as data URIs."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from ds4d.io import read_rgba
from ds4d.io.video_reader import VideoReader

MAX_BYTES = 6_000_000  # of all videos together; base64 adds a third, and the rest of the page needs space too
_POSTER_SIDE = 640  # pixels, longer side
_JPEG_QUALITY = 88


class Videos:
    """The videos of a run, embedded in the order of the calls until the page is full.

    Args:
        folder: folder of the run.
        max_bytes: total size of the videos that may be embedded, bytes.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._bytes_left = max_bytes

    def figure(self, name: str, caption: str) -> str:
        """A video with its caption; its first frame if the page is full; a note if there is neither."""
        path = self._folder / name
        if not path.is_file():
            return _note(f"{caption}: {name} is not in the folder of the run.")
        try:
            still = _first_frame(path)
        except ValueError as error:
            return _note(f"{caption}: {error}")
        size = path.stat().st_size
        if size > self._bytes_left:
            text = f"{caption}: {name} ({size / 1e6:.1f} MB) is too large to be embedded in this page."
            return image_figure(still[0], f"{text} First frame only.") if still else _note(text)
        self._bytes_left -= size
        shape = 'poster="{}" width="{}" height="{}" '.format(*still) if still else ""
        source = data_uri("video/mp4", path.read_bytes())
        return (
            f'<figure><video autoplay muted loop playsinline controls {shape}src="{source}" '
            f'aria-label="{escape(caption)}"></video><figcaption>{escape(caption)}</figcaption></figure>'
        )


def file_figure(path: Path, caption: str) -> str:
    """An image file of a run with its caption, or a note if it is missing or damaged."""
    if not path.is_file():
        return _note(f"{caption}: {path.name} is not in the folder of the run.")
    try:
        image = Image.fromarray(read_rgba(path)[..., :3])
    except ValueError as error:
        return _note(f"{caption}: {error}")
    return image_figure(_jpeg_uri(image), caption)


def image_figure(uri: str, caption: str) -> str:
    """An image, given as a data URI, with its caption."""
    return f'<figure><img src="{uri}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'


def data_uri(kind: str, content: bytes) -> str:
    """The content of a file of a MIME type as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _first_frame(path: Path) -> tuple[str, int, int] | None:
    """The first frame of a video as a data URI, and the video's width and height; None if PyAV is not installed.

    Raises:
        ValueError: the video is damaged.
    """
    try:
        video = VideoReader(path)
        _, image = next(video.read([0], _POSTER_SIDE, alpha=False))
    except ImportError:
        return None
    return _jpeg_uri(Image.fromarray(image[..., :3])), video.size.width, video.size.height


def _jpeg_uri(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return data_uri("image/jpeg", buffer.getvalue())


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
