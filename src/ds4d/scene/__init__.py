"""The dynamic scene: canonical Gaussians, the frame features, what moves them, files, rendering."""

from ds4d.scene.baked_gaussians import BakedGaussians as BakedGaussians
from ds4d.scene.baked_gaussians import bake_at as bake_at
from ds4d.scene.base import Scene as Scene
from ds4d.scene.base import Timeline as Timeline
from ds4d.scene.dynamic_gaussians import DynamicGaussians as DynamicGaussians
from ds4d.scene.frame_features import FrameFeatureCache as FrameFeatureCache
from ds4d.scene.frame_features import FrameObservation as FrameObservation
from ds4d.scene.frame_features import cache_features as cache_features
from ds4d.scene.frame_features import cache_video_features as cache_video_features
from ds4d.scene.frame_features import dynamic_shares as dynamic_shares
from ds4d.scene.frame_features import with_dynamic_weights as with_dynamic_weights
from ds4d.scene.images import render_depths as render_depths
from ds4d.scene.images import render_over as render_over
from ds4d.scene.images import render_rgb as render_rgb
from ds4d.scene.images import render_rgba as render_rgba
from ds4d.scene.loop import BLEND_FRACTION as BLEND_FRACTION
from ds4d.scene.loop import LoopedScene as LoopedScene
from ds4d.scene.loop import measure_jump as measure_jump
from ds4d.scene.motion import Motion as Motion
from ds4d.scene.parameters import GaussianParameters as GaussianParameters
from ds4d.scene.parameters import Resampling as Resampling
from ds4d.scene.viewpoint import FOVY_DEG as FOVY_DEG
from ds4d.scene.viewpoint import viewing_distance as viewing_distance
