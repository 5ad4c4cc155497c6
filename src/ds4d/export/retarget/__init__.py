"""A user's own mesh, moved like the object of a run.

mesh --alignment--> the run's object at the time of the most similar pose --nearest Gaussians--> its vertices over time
"""

from ds4d.export.retarget.alignment import Alignment as Alignment
from ds4d.export.retarget.alignment import align_surface as align_surface
from ds4d.export.retarget.retarget import animate_model as animate_model
from ds4d.export.retarget.retarget import read_model as read_model
