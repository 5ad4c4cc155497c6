"""The Python interface: run, load, render, export. Its names are those of the package `ds4d` itself."""

from ds4d.api.camera import Camera as Camera
from ds4d.api.running import RunResult as RunResult
from ds4d.api.running import run as run
from ds4d.api.scene import DynamicScene as DynamicScene
from ds4d.api.scene import RenderedImages as RenderedImages

load = DynamicScene.load
