"""Scores of a scene against images."""

from ds4d.evaluation.scoring import Evaluation as Evaluation
from ds4d.evaluation.scoring import evaluate as evaluate
from ds4d.evaluation.scoring import render_frames as render_frames
from ds4d.evaluation.scoring import score_training_images as score_training_images
from ds4d.evaluation.scoring import score_training_views as score_training_views
