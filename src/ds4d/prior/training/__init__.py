"""Training of the shape prior on animated models."""

from ds4d.prior.training.posed_models import PosedModel as PosedModel
from ds4d.prior.training.posed_models import find_models as find_models
from ds4d.prior.training.posed_models import load_models as load_models
from ds4d.prior.training.posed_models import pose_model as pose_model
