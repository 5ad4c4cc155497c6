"""The flow of a run, from a video or a folder of views to a folder with a dynamic scene."""

from ds4d.pipeline.events import Event as Event
from ds4d.pipeline.events import FileWritten as FileWritten
from ds4d.pipeline.events import Finished as Finished
from ds4d.pipeline.events import MeshRegistered as MeshRegistered
from ds4d.pipeline.events import Resolved as Resolved
from ds4d.pipeline.events import StageStarted as StageStarted
from ds4d.pipeline.events import TrainingStarted as TrainingStarted
from ds4d.pipeline.flow import follow as follow
from ds4d.pipeline.flow import iter_run as iter_run
from ds4d.pipeline.inputs import TrainingInput as TrainingInput
from ds4d.pipeline.inputs import read_input as read_input
from ds4d.pipeline.processes import is_follower as is_follower
from ds4d.pipeline.processes import is_under_torchrun as is_under_torchrun
from ds4d.pipeline.processes import join_torchrun as join_torchrun
from ds4d.pipeline.required_weights import check_weights as check_weights
from ds4d.pipeline.setup import extract_frame_features as extract_frame_features
from ds4d.pipeline.setup import prepare as prepare
