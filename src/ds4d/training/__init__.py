"""The fit: a trainer that yields events and knows no screen."""

from ds4d.training.checkpoint import load_checkpoint as load_checkpoint
from ds4d.training.checkpoint import save_checkpoint as save_checkpoint
from ds4d.training.events import DensityChanged as DensityChanged
from ds4d.training.events import Event as Event
from ds4d.training.events import StepDone as StepDone
from ds4d.training.events import TrainingDiverged as TrainingDiverged
from ds4d.training.optimizers import OptimizerConfig as OptimizerConfig
from ds4d.training.optimizers import Rate as Rate
from ds4d.training.trainer import FitConfig as FitConfig
from ds4d.training.trainer import Trainer as Trainer
from ds4d.training.view_losses import RenderRequest as RenderRequest
from ds4d.training.view_losses import ViewLoss as ViewLoss
