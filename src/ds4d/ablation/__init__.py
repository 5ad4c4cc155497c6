"""The paper's ablation: variants of the method fitted to the same scenes with the same seeds and steps."""

from ds4d.ablation.paper_setting import paper_setting as paper_setting
from ds4d.ablation.runner import Event as Event
from ds4d.ablation.runner import FitDone as FitDone
from ds4d.ablation.runner import FitFailed as FitFailed
from ds4d.ablation.runner import Planned as Planned
from ds4d.ablation.runner import ablate as ablate
from ds4d.ablation.runner import plan as plan
from ds4d.ablation.scenes import AblationScene as AblationScene
from ds4d.ablation.scenes import find_scenes as find_scenes
from ds4d.ablation.scenes import fit_scene as fit_scene
from ds4d.ablation.table import write_tables as write_tables
from ds4d.ablation.variants import CANDIDATES as CANDIDATES
from ds4d.ablation.variants import VARIANTS as VARIANTS
from ds4d.ablation.variants import variant_configs as variant_configs
