"""A run as it is seen: its stages, what each works with, and its steps."""

from ds4d.cli.screen import Screen
from ds4d.core import Degraded, Progress, Warned
from ds4d.init.registration import Registration
from ds4d.pipeline import Event, MeshRegistered, Resolved, StageStarted
from ds4d.training import StepDone

STAGES = {
    "views": "reading the input, making views where they are needed",
    "features": "looking at the frames",
    "init": "placing the object",
    "training": "fitting",
    "evaluate": "scoring the training views",
    "outputs": "drawing images and videos",
}


def show(event: Event, screen: Screen) -> None:
    """Shows what has happened in a run."""
    if isinstance(event, StageStarted):
        number = list(STAGES).index(event.name) + 1
        screen.say(f"stage {number} of {len(STAGES)}: {STAGES[event.name]}")
    elif isinstance(event, Resolved):
        screen.say(f"  {event.part}: {event.value}")
    elif isinstance(event, Degraded | Warned):
        screen.notice(event)
    elif isinstance(event, MeshRegistered):
        screen.say(f"  {describe_registration(event.registration)}")
    elif isinstance(event, StepDone):
        screen.progress(Progress(STAGES["training"], event.step, event.total_steps), describe(event))


def describe(event: StepDone) -> str:
    """One step in a few words."""
    return f"{event.stage}, loss {event.loss:.4f}, {event.num_gaussians} Gaussians"


def describe_registration(registration: Registration) -> str:
    """How a file's shape was turned and how well it fits, in one line."""
    orientation = registration.orientation
    parts = [
        f"the shape's up axis is {orientation.up_axis}{', it is mirrored' if orientation.mirrored else ''}",
        f"the front sees it from azimuth {orientation.azimuth_deg:.0f}, elevation {orientation.elevation_deg:.0f}, "
        f"roll {orientation.roll_deg:.0f}",
        f"silhouettes overlap (IoU) {registration.silhouette_iou:.2f}",
        "it has no colors" if registration.color_error is None else f"colors differ by {registration.color_error:.2f}",
    ]
    if not registration.knows_distance:
        parts.append("one view does not tell its distance: size and distance go together")
    return "; ".join(parts)
