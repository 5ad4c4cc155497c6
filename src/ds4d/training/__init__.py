"""Training: a trainer that yields events, with its schedule, sampling, optimizer, densification and checkpoints."""

from ds4d.training.checkpoint import has_checkpoint as has_checkpoint
from ds4d.training.checkpoint import load_checkpoint as load_checkpoint
from ds4d.training.checkpoint import read_checkpoint as read_checkpoint
from ds4d.training.checkpoint import save_checkpoint as save_checkpoint
from ds4d.training.continuation import canonical_gaussians as canonical_gaussians
from ds4d.training.continuation import continue_from as continue_from
from ds4d.training.densification import Densification as Densification
from ds4d.training.densification import DensificationConfig as DensificationConfig
from ds4d.training.densification import prune_outliers as prune_outliers
from ds4d.training.events import Event as Event
from ds4d.training.events import GaussiansChanged as GaussiansChanged
from ds4d.training.events import StepDone as StepDone
from ds4d.training.events import TrainingDiverged as TrainingDiverged
from ds4d.training.logs import LogConfig as LogConfig
from ds4d.training.logs import LossLog as LossLog
from ds4d.training.logs import TensorBoardLog as TensorBoardLog
from ds4d.training.logs import check_tensorboard as check_tensorboard
from ds4d.training.logs import loss_names as loss_names
from ds4d.training.logs import over_steps as over_steps
from ds4d.training.logs import read_log as read_log
from ds4d.training.optimizers import LearningRate as LearningRate
from ds4d.training.optimizers import OptimizerConfig as OptimizerConfig
from ds4d.training.schedule import TrainingConfig as TrainingConfig
from ds4d.training.trainer import Trainer as Trainer
from ds4d.training.windows import WindowsConfig as WindowsConfig
from ds4d.training.windows import divide_frames as divide_frames
