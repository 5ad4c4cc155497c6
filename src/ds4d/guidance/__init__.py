"""Score distillation (SDS) from Zero123-XL on unseen views (paper: SDS loss)."""

from ds4d.guidance.conditions import VideoConditions as VideoConditions
from ds4d.guidance.loading import load_guidance as load_guidance
from ds4d.guidance.score_distillation import GuidanceConfig as GuidanceConfig
from ds4d.guidance.score_distillation import GuidanceRequest as GuidanceRequest
from ds4d.guidance.score_distillation import ScoreDistillation as ScoreDistillation
from ds4d.guidance.zero123 import CameraProjection as CameraProjection
from ds4d.guidance.zero123 import Condition as Condition
from ds4d.guidance.zero123 import Zero123 as Zero123
