"""What a loop had to bridge, in words."""

from ds4d.loop import measure_jump
from ds4d.scene import Scene


def describe_jump(scene: Scene) -> str:
    """How far the end of a clip lies from its start, in a line."""
    jump = measure_jump(scene)
    return (
        f"loop: the end lies {100 * jump.mean:.1f} % of the object's size from the start on average "
        f"(99 of 100 Gaussians within {100 * jump.most:.1f} %), blended over the last quarter of the clip"
    )
