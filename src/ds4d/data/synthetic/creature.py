"""The synthetic creature: a small dragon on a cushion.

World: y up, the face towards +z, everything within 0.5 of the origin at all times. The motion is periodic with period 1
in time, so the video loops. Body, legs and cushion are static; head, ears, wings, arms and tail move.
"""

from ds4d.data.synthetic.anatomy import Joint, Part, Swing, ellipsoid, mirror_joint, mirror_part
from ds4d.data.synthetic.textures import (
    before,
    beyond,
    both,
    cap,
    mottled,
    over,
    plain,
    segments,
    smile,
    spots,
    stripes,
)

_TEAL = plain("#2fa58f")
_DEEP_TEAL = plain("#1c6f73")
_CREAM = plain("#f6e7bd")
_SAND = plain("#e2bd78")
_ORANGE = plain("#f2893a")
_CRIMSON = plain("#b8324f")
_PINK = plain("#f29a9a")
_GOLD = plain("#f0bf3f")
_BLACK = plain("#17181f")
_BROWN = plain("#7a4a2b")
_WHITE = plain("#ffffff")
_VIOLET = plain("#6f5bb5")

_SKIN = mottled(_TEAL, 0.22, 9.0)
_BELLY = over(_CREAM, (stripes(1, 7), _SAND))
_SPOTTED = over(_SKIN, (spots(26, 11.0), _DEEP_TEAL))
_HORN = over(_CREAM, (stripes(1, 5), _BROWN))
_SPIKE = over(_ORANGE, (beyond(1, 0.25), _GOLD))
_TAIL_SEGMENTS = 8


def _cushion() -> list[Part]:
    cover = over(_CRIMSON, (segments(8), _CREAM), (cap((0, 1, 0), 30), _GOLD), (cap((0, 1, 0), 22), _VIOLET))
    seam = over(_GOLD, (segments(24), _BROWN))
    return [
        ellipsoid((0, -0.385, 0), (0.27, 0.075, 0.27), cover, rotation_deg=(0, 11.25, 0), occludes=True),
        ellipsoid((0, -0.385, 0), (0.282, 0.016, 0.282), seam),
    ]


def _body() -> list[Part]:
    front = both(cap((0, -0.1, 1), 48), beyond(2, 0))
    skin = over(_SPOTTED, (front, _BELLY))
    spikes = [
        ellipsoid((0, y, z), (0.014, 0.04, 0.026), _SPIKE, rotation_deg=(angle, 0, 0))
        for y, z, angle in ((-0.04, -0.128, -70), (-0.12, -0.145, -88), (-0.2, -0.135, -108))
    ]
    return [ellipsoid((0, -0.14, 0), (0.14, 0.19, 0.135), skin, occludes=True), *spikes]


def _left_leg() -> list[Part]:
    claws = [ellipsoid((x, -0.318, 0.17), (0.014, 0.012, 0.022), _CREAM) for x in (0.09, 0.12, 0.15)]
    return [
        ellipsoid((0.115, -0.25, 0.04), (0.062, 0.085, 0.088), _SPOTTED),
        ellipsoid((0.12, -0.312, 0.1), (0.056, 0.034, 0.082), _SKIN),
        *claws,
    ]


def _left_arm() -> list[Part]:
    fingers = [((x, -0.155, 0.135), (0.012, 0.014, 0.022)) for x in (0.125, 0.15, 0.175)]
    return [
        ellipsoid((0.145, -0.085, 0.05), (0.036, 0.075, 0.04), _SKIN, rotation_deg=(-35, 0, 20), joint="left arm"),
        ellipsoid((0.15, -0.14, 0.105), (0.038, 0.034, 0.04), _SKIN, joint="left arm"),
        *(ellipsoid(center, radii, _CREAM, joint="left arm") for center, radii in fingers),
    ]


def _right_arm() -> list[Part]:
    """Raised, as if waving."""
    fingers = [(-0.226, 0.075, 15), (-0.252, 0.068, 42), (-0.268, 0.045, 70)]
    return [
        ellipsoid((-0.175, -0.02, 0.05), (0.036, 0.08, 0.038), _SKIN, rotation_deg=(12, 0, 48), joint="right arm"),
        ellipsoid((-0.232, 0.035, 0.065), (0.038, 0.04, 0.032), _SKIN, rotation_deg=(0, 0, 40), joint="right arm"),
        *(
            ellipsoid((x, y, 0.075), (0.012, 0.022, 0.013), _CREAM, rotation_deg=(0, 0, angle), joint="right arm")
            for x, y, angle in fingers
        ),
    ]


def _head() -> list[Part]:
    skull = over(_SKIN, (both(spots(26, 9.0), before(2, -0.1)), _DEEP_TEAL))
    snout = over(
        _CREAM,
        (smile(0.62, 0.3, -0.42, 0.05), _BROWN),
        (cap((0.3, 0.42, 0.86), 9), _BROWN),
        (cap((-0.3, 0.42, 0.86), 9), _BROWN),
    )
    crest = [
        ellipsoid((0, y, z), (0.014, 0.045, 0.028), _SPIKE, rotation_deg=(angle, 0, 0), joint="head")
        for y, z, angle in ((0.315, 0.02, 0), (0.295, -0.075, -35), (0.215, -0.135, -75))
    ]
    return [
        ellipsoid((0, 0.17, 0), (0.165, 0.145, 0.15), skull, joint="head"),
        ellipsoid((0, 0.12, 0.125), (0.092, 0.066, 0.075), snout, joint="head"),
        *crest,
    ]


def _left_face() -> list[Part]:
    eye = over(
        _WHITE,
        (cap((-0.1, 0.0, 1), 58), _VIOLET),
        (cap((-0.1, 0.0, 1), 44), _BLACK),
        (cap((0.22, 0.4, 0.88), 15), _WHITE),
        (cap((-0.35, -0.3, 0.88), 8), _WHITE),
    )
    return [
        ellipsoid((0.077, 0.205, 0.118), (0.042, 0.052, 0.032), eye, rotation_deg=(-10, 22, 0), joint="head"),
        ellipsoid((0.112, 0.135, 0.098), (0.03, 0.022, 0.02), _PINK, rotation_deg=(0, 40, 0), joint="head"),
        ellipsoid((0.085, 0.32, -0.02), (0.022, 0.075, 0.022), _HORN, rotation_deg=(-18, 0, -24), joint="head"),
    ]


def _left_ear() -> list[Part]:
    frill = over(_ORANGE, (stripes(1, 5), _CRIMSON))
    return [ellipsoid((0.2, 0.18, -0.03), (0.07, 0.04, 0.014), frill, rotation_deg=(0, 25, 18), joint="left ear")]


def _left_wing() -> list[Part]:
    membrane = over(_ORANGE, (stripes(0, 4), _GOLD), (beyond(0, 0.72), _CRIMSON))
    blades = [
        ellipsoid(center, radii, membrane, rotation_deg=(0, 18, angle), joint="left wing")
        for center, radii, angle in (
            ((0.2, 0.075, -0.155), (0.15, 0.042, 0.012), 38),
            ((0.225, -0.01, -0.16), (0.15, 0.045, 0.012), 8),
            ((0.19, -0.08, -0.15), (0.115, 0.04, 0.012), -22),
        )
    ]
    bone = ellipsoid((0.16, 0.05, -0.14), (0.12, 0.016, 0.018), _DEEP_TEAL, rotation_deg=(0, 18, 42), joint="left wing")
    return [*blades, bone]


def _tail() -> list[Part]:
    parts = []
    for i in range(_TAIL_SEGMENTS):
        thickness = 0.072 - 0.0065 * i
        paint = _SKIN if i % 2 else _DEEP_TEAL
        parts.append(ellipsoid(_tail_position(i), (thickness, thickness, 0.05), paint, joint=f"tail {i}"))
    x, y, z = _tail_position(_TAIL_SEGMENTS)
    last = f"tail {_TAIL_SEGMENTS - 1}"
    tip = over(_CRIMSON, (beyond(1, 0.8), _PINK))
    return [
        *parts,
        *(
            ellipsoid(
                (side * 0.026 + x, y + 0.03, z), (0.04, 0.022, 0.055), tip, rotation_deg=(55, -side * 35, 0), joint=last
            )
            for side in (-1, 1)
        ),
    ]


def _tail_position(index: int) -> tuple[float, float, float]:
    return (0.0, -0.24 + 0.0022 * index**2, -0.11 - 0.036 * index)


def _joints() -> dict[str, Joint]:
    left = {
        "left ear": Joint((0.15, 0.17, -0.02), (Swing(2, 16, 2, 0.1),), "head"),
        "left wing": Joint((0.07, -0.03, -0.11), (Swing(2, 16, 2), Swing(1, 20, 2, 0.2))),
    }
    right = {name.replace("left", "right"): mirror_joint(joint) for name, joint in left.items()}
    head = Joint((0, 0.04, 0), (Swing(1, 20), Swing(0, 7, 2, 0.25), Swing(2, 6, 1, 0.25)))
    arms = {
        "left arm": Joint((0.125, -0.03, 0.02), (Swing(0, 14, 1, 0.5),)),
        "right arm": Joint((-0.125, -0.03, 0.02), (Swing(2, 22, 2), Swing(0, 10, 1))),
    }
    tail = {}
    for i in range(_TAIL_SEGMENTS):
        swings = (Swing(1, 11, 1, 0.5 - 0.04 * i), Swing(0, 2.5, 2, -0.05 * i))
        tail[f"tail {i}"] = Joint(_tail_position(i), swings, f"tail {i - 1}" if i else None)
    return {"head": head, **left, **right, **arms, **tail}


def _both_sides(left: list[Part]) -> list[Part]:
    return [*left, *map(mirror_part, left)]


JOINTS = _joints()
PARTS = (
    *_cushion(),
    *_body(),
    *_both_sides([*_left_leg(), *_left_face(), *_left_ear(), *_left_wing()]),
    *_left_arm(),
    *_right_arm(),
    *_head(),
    *_tail(),
)
