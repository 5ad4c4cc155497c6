"""Losses and their named, weighted sum; view correction."""

from ds4d.losses.objective import IMAGE_LOSSES as IMAGE_LOSSES
from ds4d.losses.objective import REGULARIZERS as REGULARIZERS
from ds4d.losses.objective import LossConfig as LossConfig
from ds4d.losses.objective import LossInputs as LossInputs
from ds4d.losses.objective import Objective as Objective
from ds4d.losses.objective import Regularizer as Regularizer
from ds4d.losses.objective import Term as Term
from ds4d.losses.regularizers import plane_smoothness as plane_smoothness
from ds4d.losses.regularizers import rigidity as rigidity
from ds4d.losses.regularizers import stillness as stillness
from ds4d.losses.regularizers import time_l1 as time_l1
from ds4d.losses.regularizers import time_smoothness as time_smoothness
from ds4d.losses.view_correction import ViewCorrection as ViewCorrection
from ds4d.losses.view_correction import ViewCorrectionConfig as ViewCorrectionConfig
from ds4d.losses.view_loss import RenderRequest as RenderRequest
from ds4d.losses.view_loss import ViewLoss as ViewLoss
