"""Training of the network of `ds4d.multiview.lift` on folders of animated 3D models.

    python -m ds4d.lift_training --data DIR --out FILE.safetensors

Models are posed and sampled beforehand (`posed_models`, `model_pool`). Each step draws random ones from random sides in
random light (`images`, `appearance`, `rasterizer`), spoils the images as real input is (`corruption`), and compares the
prediction with the surfaces that were drawn (`objective`) and, if asked for, its renders with the drawn object
(`render_loss`).
"""

from ds4d.lift_training.posed_models import PosedModel as PosedModel
from ds4d.lift_training.posed_models import find_models as find_models
from ds4d.lift_training.posed_models import load_models as load_models
from ds4d.lift_training.posed_models import pose_model as pose_model
from ds4d.lift_training.run import train as train
from ds4d.lift_training.settings import TrainSettings as TrainSettings
