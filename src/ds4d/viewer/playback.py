"""How time goes on while a clip plays."""

LEAST_SPEED, MOST_SPEED = 0.1, 4.0


def advance(time: float, seconds: float, *, duration: float, speed: float) -> float:
    """The clip's time in [0, 1] after some seconds of playing; behind the end it begins anew.

    Args:
        time: before, in [0, 1].
        seconds: that have passed.
        duration: of the clip, seconds.
        speed: 1 plays it as recorded.
    """
    later = time + speed * seconds / duration
    return later if later <= 1 else later % 1.0
