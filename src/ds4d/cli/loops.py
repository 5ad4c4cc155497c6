"""What a loop had to bridge, in words and figures."""

from dataclasses import asdict, replace

from ds4d.cli.outcome import Outcome
from ds4d.scene import Scene, measure_jump


def with_jump(outcome: Outcome, scene: Scene) -> Outcome:
    """The outcome, and how far the end of the clip lies from its start."""
    jump = measure_jump(scene)
    said = (
        f"loop: the end lies {100 * jump.mean:.1f} % of the object's size from the start on average "
        f"(99 of 100 Gaussians within {100 * jump.percentile_99:.1f} %), blended over the last quarter of the clip"
    )
    text = "\n".join([outcome.text, said] if outcome.text else [said])
    return replace(outcome, text=text, result={**outcome.result, "jump": asdict(jump)})
