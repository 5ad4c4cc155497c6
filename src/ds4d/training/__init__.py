"""The fit: a trainer that yields events and knows no screen."""

from ds4d.training.checkpoint import load_checkpoint as load_checkpoint
from ds4d.training.checkpoint import save_checkpoint as save_checkpoint
from ds4d.training.densification import DensityConfig as DensityConfig
from ds4d.training.densification import DensityControl as DensityControl
from ds4d.training.densification import prune_outliers as prune_outliers
from ds4d.training.events import DensityChanged as DensityChanged
from ds4d.training.events import Event as Event
from ds4d.training.events import StepDone as StepDone
from ds4d.training.events import TrainingDiverged as TrainingDiverged
from ds4d.training.logs import LogConfig as LogConfig
from ds4d.training.logs import LossLog as LossLog
from ds4d.training.logs import TensorBoardLog as TensorBoardLog
from ds4d.training.logs import check_tensorboard as check_tensorboard
from ds4d.training.logs import loss_names as loss_names
from ds4d.training.logs import over_steps as over_steps
from ds4d.training.logs import read_log as read_log
from ds4d.training.optimizers import OptimizerConfig as OptimizerConfig
from ds4d.training.optimizers import Rate as Rate
from ds4d.training.trainer import FitConfig as FitConfig
from ds4d.training.trainer import Trainer as Trainer
