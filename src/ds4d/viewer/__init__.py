"""A 4D object in browsers: `Viewer` shows it, `FitWatch` shows one that is still being fitted."""

from ds4d.viewer.fit_watch import FitWatch as FitWatch
from ds4d.viewer.opened_run import OpenedRun as OpenedRun
from ds4d.viewer.opened_run import open_run as open_run
from ds4d.viewer.viewer import Viewer as Viewer
