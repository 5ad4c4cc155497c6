"""Generators of further views of a video."""

from ds4d.multiview.base import ViewGenerator as ViewGenerator
from ds4d.multiview.base import front_alone as front_alone
from ds4d.multiview.base import join_views as join_views
from ds4d.multiview.base import stag4d_cameras as stag4d_cameras
from ds4d.multiview.cache import find_views as find_views
from ds4d.multiview.cache import generate_once as generate_once
from ds4d.multiview.generators import GENERATORS as GENERATORS
from ds4d.multiview.inflate import Inflate as Inflate
from ds4d.multiview.inflate import InflateConfig as InflateConfig
from ds4d.multiview.zero123plus import Zero123Plus as Zero123Plus
from ds4d.multiview.zero123plus import Zero123PlusConfig as Zero123PlusConfig
