"""Check of how the video's colors are coded."""

from ds4d.preprocess.checks.base import CheckContext, Finding


def hdr(context: CheckContext) -> Finding | None:
    """Finds videos that were tone-mapped."""
    color = context.video.color
    if color is None or not color.is_hdr:
        return None
    return Finding(
        "hdr",
        "note",
        f"The video is HDR ({color}): its colors were converted to sRGB.",
        "Light above 203 nits is compressed. For colors of your own choice, export the video as SDR.",
    )
