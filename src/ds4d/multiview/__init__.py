"""View generators: further views of a video."""

from ds4d.multiview.base import ViewGenerator as ViewGenerator
from ds4d.multiview.base import input_view_only as input_view_only
from ds4d.multiview.base import join_views as join_views
from ds4d.multiview.base import stag4d_cameras as stag4d_cameras
from ds4d.multiview.cache import find_views as find_views
from ds4d.multiview.cache import generate_once as generate_once
from ds4d.multiview.cut_views import without_cuts as without_cuts
from ds4d.multiview.generators import GENERATORS as GENERATORS
from ds4d.multiview.generators import GeneratorSettings as GeneratorSettings
from ds4d.multiview.generators import ViewsConfig as ViewsConfig
from ds4d.multiview.generators import ViewsSource as ViewsSource
from ds4d.multiview.generators import check_flipbook as check_flipbook
from ds4d.multiview.generators import choose_generator as choose_generator
from ds4d.multiview.generators import make_generator as make_generator
from ds4d.multiview.generators import unused_settings as unused_settings
