"""Videos and images within a page, as data URIs."""

import base64
from html import escape
from io import BytesIO
from pathlib import Path

from PIL import Image

from ds4d.io import read_rgba
from ds4d.io.video_reader import VideoReader

MOST_BYTES = 6_000_000  # of all videos together; in base64 they are a third larger, and the rest needs room too
_POSTER_SIDE = 640  # pixels, longer side
_QUALITY = 88  # of JPEG; hardly visible


class Videos:
    """The videos of a run, embedded one after the other as long as there is room.

    Args:
        folder: of the run.
        room: bytes of the videos that may be embedded.
    """

    def __init__(self, folder: Path, room: int = MOST_BYTES) -> None:
        self._folder = folder
        self._room = room

    def figure(self, name: str, caption: str) -> str:
        """A video that plays, a still of it where there is no room left, or a line that says why there is neither."""
        path = self._folder / name
        if not path.is_file():
            return _note(f"{caption}: {name} is not in the folder of the run.")
        try:
            still = _still(path)
        except ValueError as error:
            return _note(f"{caption}: {error}")
        size = path.stat().st_size
        if size > self._room:
            text = f"{caption}: {name} ({size / 1e6:.1f} MB) is too large to play on this page."
            return still_figure(still[0], f"{text} Its first frame.") if still else _note(text)
        self._room -= size
        shape = 'poster="{}" width="{}" height="{}" '.format(*still) if still else ""
        source = data_uri("video/mp4", path.read_bytes())
        return (
            f'<figure><video autoplay muted loop playsinline controls {shape}src="{source}" '
            f'aria-label="{escape(caption)}"></video><figcaption>{escape(caption)}</figcaption></figure>'
        )


def _still(path: Path) -> tuple[str, int, int] | None:
    """The first frame of a video as a data URI, and the video's width and height; None where PyAV is not installed.

    Raises:
        ValueError: the video is damaged.
    """
    try:
        video = VideoReader(path)
        _, image = next(video.read([0], _POSTER_SIDE, alpha=False))
    except ImportError:
        return None
    return jpeg_uri(Image.fromarray(image[..., :3])), video.size.width, video.size.height


def image_figure(path: Path, caption: str) -> str:
    """An image of a run, or a line that says why there is none."""
    if not path.is_file():
        return _note(f"{caption}: {path.name} is not in the folder of the run.")
    try:
        image = Image.fromarray(read_rgba(path)[..., :3])
    except ValueError as error:
        return _note(f"{caption}: {error}")
    return still_figure(jpeg_uri(image), caption)


def still_figure(uri: str, caption: str) -> str:
    """An image with its caption."""
    return f'<figure><img src="{uri}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'


def jpeg_uri(image: Image.Image) -> str:
    """An image as JPEG."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return data_uri("image/jpeg", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """The content of a file as an address that holds it all."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'
