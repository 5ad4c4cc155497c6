"""Pretrained models: which ones can be used, where they are searched for, and how they are loaded."""

from ds4d.weights.digest import weights_digest as weights_digest
from ds4d.weights.fetching import download_folder as download_folder
from ds4d.weights.fetching import fetch as fetch
from ds4d.weights.loading import load_part as load_part
from ds4d.weights.loading import read_settings as read_settings
from ds4d.weights.loading import read_shapes as read_shapes
from ds4d.weights.loading import read_tensors as read_tensors
from ds4d.weights.loading import weights_file as weights_file
from ds4d.weights.models import MODELS as MODELS
from ds4d.weights.models import Download as Download
from ds4d.weights.models import Part as Part
from ds4d.weights.models import PretrainedModel as PretrainedModel
from ds4d.weights.search import SearchPath as SearchPath
from ds4d.weights.search import find_model as find_model
from ds4d.weights.search import model_files as model_files
from ds4d.weights.search import problems as problems
from ds4d.weights.search import require_model as require_model
from ds4d.weights.search import search_paths as search_paths
