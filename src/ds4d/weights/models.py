"""The pretrained models that can be used, as data.

A model is a folder of parts, each a network, a scheduler, a tokenizer or a preprocessor. Licenses are those that the
authors state for the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ds4d.core import install_command


@dataclass(frozen=True)
class Part:
    """One part of a model.

    Attributes:
        folder: subfolder of the model's folder; "" is that folder itself.
        settings: name of its JSON file, or None.
        expected: values of which the settings must have one, by key; other values belong to another model.
        weights: names of weights files (glob patterns) of which one must exist, the preferred one first; empty if the
            part has no weights.
        files: names of further files that it needs.
        loader: package and class that loads it; "" if the package that uses it does.
    """

    folder: str
    settings: str | None = None
    expected: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    loader: str = ""


@dataclass(frozen=True)
class Download:
    """A file that `ds4d weights fetch` downloads.

    Attributes:
        title: name of the model.
        file: name of the file.
        url: its address at its publisher.
        size: its size in bytes.
        sha256: its hash.
        license: license of the model.
        authors: who made it.
    """

    title: str
    file: str
    url: str
    size: int
    sha256: str
    license: str
    authors: str


@dataclass(frozen=True)
class PretrainedModel:
    """One pretrained model.

    Attributes:
        name: key in `MODELS`, and name of its folder in $DS4D_WEIGHTS.
        title: usual name.
        stage: stage or loss that uses it.
        parts: parts of the model.
        license: license of the weights.
        commercial: whether the license allows commercial use; None if that depends or is not known.
        source: repository on the Hugging Face hub; "" if there is none.
        get: command or instruction to get it, in which FOLDER stands for the destination; "" for the hub's command.
        variable: environment variable that may also name its folder or file; "" if there is none.
        package: installed package that contains it, and the folder inside; None if there is none.
        download: file that can be downloaded by `ds4d weights fetch`; None if there is none.
    """

    name: str
    title: str
    stage: str
    parts: tuple[Part, ...]
    license: str
    commercial: bool | None
    source: str = ""
    get: str = ""
    variable: str = ""
    package: tuple[str, str] | None = None
    download: Download | None = None

    def part(self, folder: str) -> Part:
        """The part with this subfolder."""
        return next(part for part in self.parts if part.folder == folder)

    def how_to_get(self, folder: str) -> str:
        """The command or instruction that puts the model into a folder."""
        return (self.get or f"hf download {self.source} --local-dir FOLDER").replace("FOLDER", folder)


def _with_half(*names: str) -> tuple[str, ...]:
    """Names of weights files, then those of their half-precision variants, as diffusers and transformers name them."""
    return (*names, *(name.replace(".", ".fp16.") for name in names))


def _diffusers(folder: str, kind: str) -> Part:
    weights = _with_half("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    return Part(folder, "config.json", {"_class_name": (kind,)}, weights, loader=f"diffusers.{kind}")


def _transformers(folder: str, name: str, **expected: tuple[str | int, ...]) -> Part:
    weights = _with_half("model.safetensors", "pytorch_model.bin")
    return Part(folder, "config.json", expected, weights, loader=f"transformers.{name}")


def _pipeline(kind: str) -> Part:
    return Part("", "model_index.json", {"_class_name": (kind,)})


def _scheduler(name: str) -> Part:
    return Part("scheduler", "scheduler_config.json", loader=f"diffusers.{name}")


def _preprocessor(folder: str) -> Part:
    return Part(folder, "preprocessor_config.json", loader="transformers.CLIPImageProcessor")


def _image_encoder(folder: str) -> Part:
    return _transformers(folder, "CLIPVisionModelWithProjection", model_type=("clip_vision_model",))


def _clip(projection: int) -> tuple[Part, Part]:
    """A whole CLIP with this number of channels of its embeddings, and its preprocessor."""
    network = _transformers("", "CLIPModel", model_type=("clip",), projection_dim=(projection,))
    return network, _preprocessor("")


_VAE = _diffusers("vae", "AutoencoderKL")
_UNET = _diffusers("unet", "UNet2DConditionModel")

_ZERO123PLUS = (
    _pipeline("Zero123PlusPipeline"),
    _VAE,
    _UNET,
    _image_encoder("vision_encoder"),
    _transformers("text_encoder", "CLIPTextModel", model_type=("clip_text_model",)),
    Part("tokenizer", "tokenizer_config.json", files=("vocab.json", "merges.txt"), loader="transformers.CLIPTokenizer"),
    _scheduler("EulerAncestralDiscreteScheduler"),
    _preprocessor("feature_extractor_clip"),
    _preprocessor("feature_extractor_vae"),
)

_ZERO123_XL = (
    _pipeline("Zero123Pipeline"),
    replace(_diffusers("clip_camera_projection", "CLIPCameraProjection"), loader=""),  # no library has this class
    _image_encoder("image_encoder"),
    _VAE,
    _UNET,
    _scheduler("DDIMScheduler"),
    _preprocessor("feature_extractor"),
)


def _zero123plus(version: str) -> PretrainedModel:
    return PretrainedModel(
        f"zero123plus-{version}",
        f"Zero123++ {version}",
        "views",
        _ZERO123PLUS,
        "CC-BY-NC 4.0",
        False,
        f"sudo-ai/zero123plus-{version}",
    )


_WIDTHS = {"small": 384, "base": 768, "large": 1024}


def _dinov2(size: str, kind: str) -> PretrainedModel:
    registers = "-with-registers" * (kind == "dinov2_with_registers")
    name = f"dinov2{registers}-{size}"
    part = _transformers("", "AutoModel", model_type=(kind,), hidden_size=(_WIDTHS[size],))
    title = f"DINOv2 {size}{registers.replace('-', ' ')}"
    return PretrainedModel(name, title, "features", (part,), "Apache-2.0", True, f"facebook/{name}")


_ALL = (
    _zero123plus("v1.1"),
    _zero123plus("v1.2"),
    PretrainedModel(
        "lift",
        "lifting network of ds4d",
        "views",
        (Part("", weights=("network.safetensors",)),),
        "MIT",
        True,
        get="it comes with ds4d; to train another: python -m ds4d.lift_training --data MODELS "
        "--out FOLDER/network.safetensors",
        package=("ds4d", "multiview/lift"),
    ),
    PretrainedModel("zero123-xl", "Zero123-XL", "guidance", _ZERO123_XL, "MIT", True, "ashawkey/zero123-xl-diffusers"),
    *(_dinov2(size, kind) for kind in ("dinov2", "dinov2_with_registers") for size in _WIDTHS),
    PretrainedModel(
        "vgg16",
        "VGG16 of ImageNet",
        "lpips",
        (Part("", weights=("model.safetensors", "vgg16*.safetensors", "vgg16*.pth", "pytorch_model.bin")),),
        "BSD-3-Clause",
        True,
        "timm/vgg16.tv_in1k",
    ),
    PretrainedModel(
        "lpips-vgg",
        "LPIPS heads for VGG16",
        "lpips",
        (Part("", weights=("vgg.safetensors", "vgg.pth")),),
        "BSD-2-Clause",
        True,
        get=install_command("eval"),
        package=("torchmetrics", "functional/image/lpips_models"),
    ),
    PretrainedModel(
        "matting",
        "matting model (U2-Net, IS-Net or RMBG as .onnx)",
        "video",
        (Part("", weights=("*.onnx",)),),
        "that of the file",
        None,
        get="ds4d weights fetch matting, or put one .onnx file into FOLDER: U2-Net or IS-Net (Apache-2.0), or RMBG "
        "(non-commercial)",
        variable="DS4D_MATTING_MODEL",
        download=Download(
            "IS-Net (general use)",
            "isnet-general-use.onnx",
            "https://github.com/danielgatis/rembg/releases/download/v0.0.0/isnet-general-use.onnx",
            178_648_008,
            "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
            "Apache-2.0",
            "Xuebin Qin and others (DIS), as ONNX by the project rembg",
        ),
    ),
    PretrainedModel("clip", "CLIP ViT-B/32", "eval", _clip(512), "MIT", True, "openai/clip-vit-base-patch32"),
    PretrainedModel(
        "clip-bigg",
        "OpenCLIP ViT-bigG/14",
        "eval",
        _clip(1280),
        "MIT",
        True,
        "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    ),
    PretrainedModel(
        "i3d",
        "I3D of Kinetics-400 (VideoGPT, DisCo, Consistent4D)",
        "eval",
        (Part("", weights=("i3d_pretrained_400.pt", "*.pt", "*.safetensors")),),
        "not stated for the weights",
        None,
        get="put i3d_pretrained_400.pt, which the README of Consistent4D links to, into FOLDER",
    ),
    PretrainedModel(
        "i3d-styleganv",
        "I3D of Kinetics-400 as TorchScript (StyleGAN-V, V2M4)",
        "eval",
        (Part("", weights=("i3d_torchscript.pt", "*.pt")),),
        "not stated for the weights",
        None,
        get="put i3d_torchscript.pt, which the README of StyleGAN-V links to, into FOLDER",
    ),
    PretrainedModel(
        "inception-fid",
        "InceptionV3 of FID",
        "eval",
        (Part("", weights=("*inception-2015-12-05-6726825d.pth", "*.pth", "*.safetensors")),),
        "Apache-2.0",
        True,
        get="put pt_inception-2015-12-05-6726825d.pth of the releases of mseitzer/pytorch-fid into FOLDER",
    ),
)

MODELS: dict[str, PretrainedModel] = {model.name: model for model in _ALL}
