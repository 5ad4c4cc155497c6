"""Multi-view data: loaders and a writer of folders, perturbed views, a synthetic scene."""

from ds4d.data.frame_store import FrameStore as FrameStore
from ds4d.data.loading import FolderConfig as FolderConfig
from ds4d.data.loading import is_view_folder as is_view_folder
from ds4d.data.loading import load_views as load_views
from ds4d.data.loading import refuse_options as refuse_options
from ds4d.data.masks import check_masks as check_masks
from ds4d.data.perturb import PerturbationConfig as PerturbationConfig
from ds4d.data.perturb import perturb_views as perturb_views
from ds4d.data.stag4d import POINTS_FILE as POINTS_FILE
from ds4d.data.stag4d import load_stag4d as load_stag4d
from ds4d.data.stag4d_writer import views_contact_sheet as views_contact_sheet
from ds4d.data.stag4d_writer import write_views as write_views
from ds4d.data.transforms import load_transforms as load_transforms
from ds4d.data.transforms_file import TransformsFrame as TransformsFrame
from ds4d.data.transforms_file import read_transforms as read_transforms
