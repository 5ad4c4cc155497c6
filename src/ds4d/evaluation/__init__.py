"""Scores of a scene against images, evaluation protocols of the field, and comparisons of methods."""

from ds4d.evaluation.comparison import Compared as Compared
from ds4d.evaluation.comparison import compare_methods as compare_methods
from ds4d.evaluation.comparison import comparison_table as comparison_table
from ds4d.evaluation.files import markdown as markdown
from ds4d.evaluation.files import read_scores as read_scores
from ds4d.evaluation.files import write_clip as write_clip
from ds4d.evaluation.files import write_scores as write_scores
from ds4d.evaluation.networks import NETWORKS as NETWORKS
from ds4d.evaluation.protocols import PROTOCOLS as PROTOCOLS
from ds4d.evaluation.protocols import ProtocolConfig as ProtocolConfig
from ds4d.evaluation.protocols import ProtocolName as ProtocolName
from ds4d.evaluation.protocols import ProtocolScores as ProtocolScores
from ds4d.evaluation.protocols import metrics_by_protocol as metrics_by_protocol
from ds4d.evaluation.registry import PROTOCOL_METRICS as PROTOCOL_METRICS
from ds4d.evaluation.running import run_protocol as run_protocol
from ds4d.evaluation.running import score_clips as score_clips
from ds4d.evaluation.running import score_scene as score_scene
from ds4d.evaluation.scoring import Evaluation as Evaluation
from ds4d.evaluation.scoring import evaluate as evaluate
from ds4d.evaluation.scoring import render_frames as render_frames
from ds4d.evaluation.scoring import score_training_images as score_training_images
from ds4d.evaluation.scoring import score_training_views as score_training_views
from ds4d.evaluation.truths import LAYOUTS as LAYOUTS
