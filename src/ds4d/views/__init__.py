"""Multi-view sequences: made elsewhere and read from folders, or made here."""

from ds4d.views.caching import find_views as find_views
from ds4d.views.caching import generate_once as generate_once
from ds4d.views.frame_store import FrameStore as FrameStore
from ds4d.views.generation import ViewGenerator as ViewGenerator
from ds4d.views.generation import front_alone as front_alone
from ds4d.views.generation import join_views as join_views
from ds4d.views.generation import stag4d_cameras as stag4d_cameras
from ds4d.views.generators import GENERATORS as GENERATORS
from ds4d.views.inflate import Inflate as Inflate
from ds4d.views.inflate import InflateConfig as InflateConfig
from ds4d.views.loading import ViewsConfig as ViewsConfig
from ds4d.views.loading import ViewsSource as ViewsSource
from ds4d.views.loading import holds_views as holds_views
from ds4d.views.loading import load_views as load_views
from ds4d.views.masks import check_masks as check_masks
from ds4d.views.perturbed import PerturbationConfig as PerturbationConfig
from ds4d.views.perturbed import perturb_views as perturb_views
from ds4d.views.stag4d import load_stag4d as load_stag4d
from ds4d.views.transforms import load_transforms as load_transforms
from ds4d.views.transforms_file import TransformsFrame as TransformsFrame
from ds4d.views.transforms_file import read_transforms as read_transforms
from ds4d.views.written import POINTS_FILE as POINTS_FILE
from ds4d.views.written import draw_views as draw_views
from ds4d.views.written import write_views as write_views
from ds4d.views.zero123plus import Zero123Plus as Zero123Plus
from ds4d.views.zero123plus import Zero123PlusConfig as Zero123PlusConfig
