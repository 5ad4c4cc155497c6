"""Settings of the training."""

from dataclasses import dataclass, field
from pathlib import Path

from ds4d.core import DeviceName, check_ranges
from ds4d.lift_training.appearance import AppearanceSettings
from ds4d.lift_training.corruption import CorruptionSettings
from ds4d.lift_training.images import CameraSettings
from ds4d.lift_training.objective import ObjectiveWeights
from ds4d.lift_training.render_loss import RenderSettings
from ds4d.lift_training.rig_variations import RigVariationSettings
from ds4d.lift_training.warp import WarpSettings
from ds4d.multiview.lift.network import NetworkConfig


@dataclass(frozen=True)
class DataSettings:
    """Models to train on.

    Attributes:
        poses: poses of an animated model.
        samples: surface samples of a model.
        static_share: chance that a training image shows a model without animation.
        procedural: number of random creatures that are added to the models.
        procedural_share: chance that a training image shows one of them.
        validation: fraction of the models that are held out where the folder has no split.json.
        variations: random variations of the rigs.
        without_groups: groups (rigs) to leave out, by name.
        workers: processes that read models.
    """

    poses: int = 24
    samples: int = 24_576
    static_share: float = 0.15
    procedural: int = 2000
    procedural_share: float = 0.35
    validation: float = 0.1
    variations: RigVariationSettings = field(default_factory=RigVariationSettings)
    without_groups: tuple[str, ...] = ()
    workers: int = 4

    def __post_init__(self) -> None:
        check_ranges(
            self,
            poses="[1, inf)",
            samples="[64, 32767]",
            static_share="[0, 1]",
            procedural="[0, inf)",
            procedural_share="[0, 1]",
            validation="[0, 1)",
            workers="[1, inf)",
        )
        if self.static_share + self.procedural_share > 1:
            both = f"{self.static_share} and {self.procedural_share}"
            raise ValueError(f"static_share and procedural_share must be at most 1 together, got {both}. Lower one.")

    @property
    def shares(self) -> dict[str, float]:
        """Chance of each kind of model."""
        animated = 1 - self.static_share - self.procedural_share
        return {"animated": animated, "static": self.static_share, "procedural": self.procedural_share}


@dataclass(frozen=True)
class TrainSettings:
    """Training of the lifting network on a folder of 3D models.

    Attributes:
        data: folder of .glb or .gltf files, at any depth. Its split.json ({"train": [...], "validation": [...]}, paths
            relative to the folder) says which models are held out, and its models.json ([{"file", "rig_id"}, ...])
            which share a rig.
        out: file of the network, .safetensors; its resumable state is written beside it.
        resume: continue from the state beside `out`, or from the network alone if there is no state.
        images: number of training images of this run.
        minutes: end after this time at the latest, validation not included; 0 for no limit.
        batch: images per step and process.
        learning_rate: largest learning rate.
        warmup: steps until it is reached.
        cooldown: fraction of the run over which it falls to zero at the end.
        weight_decay: weight decay of everything that has more than one axis.
        dropout: chance that a value of a transformer block is left out.
        ema: decay of the moving average of the weights, per step; the average is what is written.
        validate_images: number of validation images.
        every: steps between two lines of the log.
        save_minutes: minutes between two savings of the network and its state, besides that at the end.
        log: folder for TensorBoard files, or nothing.
        device: auto, cpu or cuda; with several processes (torchrun), each uses its own GPU.
        compile: compile the network with torch.compile.
        seed: random seed.
        network: size of the network.
        models: models to train on.
        cameras: random cameras.
        warps: random deformations.
        appearance: random lights and paint.
        corruption: what spoils the input images.
        weights: weights of the loss.
        render: renders from other sides in the loss.
    """

    data: Path
    out: Path
    resume: bool = False
    images: int = 20_000_000
    minutes: float = 0.0
    batch: int = 256
    learning_rate: float = 1e-3
    warmup: int = 300
    cooldown: float = 0.3
    weight_decay: float = 0.1
    dropout: float = 0.0
    ema: float = 0.998
    validate_images: int = 184
    every: int = 50
    save_minutes: float = 5.0
    log: Path | None = None
    device: DeviceName = "auto"
    compile: bool = True
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)
    models: DataSettings = field(default_factory=DataSettings)
    cameras: CameraSettings = field(default_factory=CameraSettings)
    warps: WarpSettings = field(default_factory=WarpSettings)
    appearance: AppearanceSettings = field(default_factory=AppearanceSettings)
    corruption: CorruptionSettings = field(default_factory=CorruptionSettings)
    weights: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    render: RenderSettings = field(default_factory=RenderSettings)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            images="[1, inf)",
            minutes="[0, inf)",
            batch="[1, inf)",
            learning_rate="(0, inf)",
            warmup="[0, inf)",
            cooldown="[0, 1]",
            dropout="[0, 1)",
            ema="[0, 1)",
            validate_images="[1, inf)",
            every="[1, inf)",
            save_minutes="(0, inf)",
        )
        if self.out.suffix != ".safetensors":
            raise ValueError(f"out must end in .safetensors, got {self.out}. Rename it.")
