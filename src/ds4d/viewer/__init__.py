"""Interactive viewer: `Viewer` shows a 4D scene in browsers, `LiveViewer` one that is still being optimized."""

from ds4d.viewer.live import LiveViewer as LiveViewer
from ds4d.viewer.opened_run import OpenedRun as OpenedRun
from ds4d.viewer.opened_run import open_run as open_run
from ds4d.viewer.viewer import Viewer as Viewer
