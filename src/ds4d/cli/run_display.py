"""Display of a run in progress: its stages and steps on the console, its Gaussians in a live viewer."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

from ds4d.cli.console import Console
from ds4d.core import Degraded, Progress, Warned
from ds4d.pipeline import Event, MeshRegistered, Resolved, StageStarted
from ds4d.shapes.registration import Registration
from ds4d.training import StepDone

STAGES = {
    "views": "reading the input, generating views",
    "features": "extracting frame features",
    "init": "initializing the Gaussians",
    "training": "training",
    "evaluate": "scoring the training views",
    "outputs": "rendering images and videos",
}


def show_event(event: Event, console: Console) -> None:
    """Shows an event of a run."""
    if isinstance(event, StageStarted):
        number = list(STAGES).index(event.name) + 1
        console.print(f"stage {number} of {len(STAGES)}: {STAGES[event.name]}")
    elif isinstance(event, Resolved):
        console.print(f"  {event.part}: {event.value}")
    elif isinstance(event, Degraded | Warned):
        console.notice(event)
    elif isinstance(event, MeshRegistered):
        console.print(f"  {describe_registration(event.registration)}")
    elif isinstance(event, StepDone):
        console.progress(Progress(STAGES["training"], event.step, event.total_steps), describe_step(event))


def describe_step(event: StepDone) -> str:
    """Stage, loss and number of Gaussians after a step."""
    return f"{event.stage}, loss {event.loss:.4f}, {event.num_gaussians} Gaussians"


def describe_registration(registration: Registration) -> str:
    """Orientation and fit of a registered mesh, in one line."""
    orientation = registration.orientation
    parts = [
        f"mesh registered: up axis {orientation.up_axis}{', mirrored' if orientation.mirrored else ''}",
        f"input view at azimuth {orientation.azimuth_deg:.0f}, elevation {orientation.elevation_deg:.0f}, "
        f"roll {orientation.roll_deg:.0f} degrees",
        f"silhouette IoU {registration.silhouette_iou:.2f}",
        "no colors" if registration.color_error is None else f"color error {registration.color_error:.2f}",
    ]
    if not registration.knows_distance:
        parts.append("size and distance are ambiguous from one view")
    return "; ".join(parts)


@contextmanager
def live_viewer(enabled: bool, console: Console) -> Generator[Callable[[Event], None], None, None]:
    """A function that shows a run's events in browsers while the block lasts, or does nothing.

    Args:
        enabled: whether to start a viewer.
        console: where its address is printed.

    Raises:
        ValueError: no port is free.
        ImportError: the extra `viewer` is not installed.
    """
    if not enabled:
        yield lambda event: None
        return
    from ds4d.viewer import LiveViewer, Viewer

    viewer = Viewer()
    try:
        console.print("\n".join(["live viewer:", *(f"  {line}" for line in viewer.address)]))
        yield LiveViewer(viewer).on_event
    finally:
        with suppress(Exception):  # the run is what counts
            viewer.close()
