"""Features of a video: of the right images, on white, in half precision, and the same from the cache."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from ds4d.core import Warned, notices_to
from ds4d.features import EXTRACTORS, FeaturesConfig, FilterBank, FilterBankConfig, extract_features
from ds4d.geometry import frame_times, orbit_cameras
from ds4d.io import write_cached
from ds4d.types import FrameFeatures, MultiViewVideo

CPU = torch.device("cpu")
CONFIG = FeaturesConfig(filters=FilterBankConfig(scales=(0.5,)))
T, V, WIDTH, HEIGHT = 5, 3, 20, 16
Change = Callable[[MultiViewVideo], FrameFeatures]


class Noise:
    """Premultiplied noise; images in `absent` must not be read."""

    num_times, num_views, width, height = T, V, WIDTH, HEIGHT

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, 256, (T, V, HEIGHT, WIDTH, 4), dtype=np.uint8)
        self.images[..., :3] = np.minimum(self.images[..., :3], self.images[..., 3:])
        self.absent: set[tuple[int, int]] = set()

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        assert (time, view) not in self.absent
        return self.images[time, view]


@pytest.fixture
def video() -> MultiViewVideo:
    cameras = orbit_cameras(
        [0.0, 90.0, 180.0], [0.0, 0.0, 0.0], fovy_deg=40.0, distance=2.0, width=WIDTH, height=HEIGHT
    )
    still = cameras.expand_times(T)
    return MultiViewVideo(
        frames=Noise(),
        cameras=still,
        valid=torch.ones(T, V, dtype=torch.bool),
        times=frame_times(T),
        view_names=("front", "side", "back"),
        view_weights=torch.ones(V),
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The filter banks that have been constructed."""
    banks: list[nn.Module] = []

    class Counted(FilterBank):
        def __init__(self, config: FilterBankConfig) -> None:
            super().__init__(config)
            banks.append(self)

    monkeypatch.setitem(EXTRACTORS, "filters", Counted)
    return banks


def on_white(video: MultiViewVideo, time: int, view: int) -> Tensor:
    rgba = torch.from_numpy(video.frames.read(time, view)).permute(2, 0, 1).float() / 255
    return rgba[:3] + 1 - rgba[3:]


def test_features_are_of_images_on_white(video: MultiViewVideo) -> None:
    features = extract_features(video, CONFIG, CPU)
    bank = FilterBank(CONFIG.filters)
    assert features.maps.shape == (T, V, bank.channels, 4, 5)
    assert features.maps.dtype == torch.half and features.maps.device == CPU
    assert features.valid.all()
    for time in range(T):
        for view in range(V):
            expected = bank(on_white(video, time, view))
            torch.testing.assert_close(features.maps[time, view].float(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("views", [[0], [2, 0], [1, 1]])
def test_views_keep_the_requested_order(video: MultiViewVideo, views: list[int]) -> None:
    some, every = extract_features(video, CONFIG, CPU, views=views), extract_features(video, CONFIG, CPU)
    torch.testing.assert_close(some.maps, every.maps[:, views], atol=1e-3, rtol=0)
    assert some.valid.shape == (T, len(views))


def test_absent_images_are_zeros_and_never_read(video: MultiViewVideo) -> None:
    frames = Noise()
    frames.absent = {(0, 1), (3, 2)}
    valid = torch.tensor([[(time, view) not in frames.absent for view in range(V)] for time in range(T)])
    features = extract_features(replace(video, frames=frames, valid=valid), CONFIG, CPU)
    whole = extract_features(video, CONFIG, CPU)
    assert torch.equal(features.valid, valid)
    assert (features.maps[~valid] == 0).all()
    torch.testing.assert_close(features.maps[valid], whole.maps[valid], atol=1e-3, rtol=0)


def test_images_are_read_in_batches(video: MultiViewVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    gather = MultiViewVideo.gather

    def spy(self: MultiViewVideo, times: Tensor, views: Tensor) -> object:
        sizes.append(len(times))
        return gather(self, times, views)

    monkeypatch.setattr(MultiViewVideo, "gather", spy)
    extract_features(video, CONFIG, CPU)
    assert sum(sizes) == T * V and max(sizes) <= 8


@pytest.mark.parametrize("views", [[], [3], [-1]])
def test_unknown_views_raise(video: MultiViewVideo, views: list[int]) -> None:
    with pytest.raises(ValueError, match="views"):
        extract_features(video, CONFIG, CPU, views=views)


def test_views_without_images_raise(video: MultiViewVideo) -> None:
    valid = torch.tensor([[True, False, True]]).repeat(T, 1)
    with pytest.raises(ValueError, match=r"views \[1\]"):
        extract_features(replace(video, valid=valid), CONFIG, CPU, views=[1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e6])
def test_non_finite_features_raise(
    video: MultiViewVideo, cache: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Values beyond half precision count too; nothing is cached."""
    broken = on_white(video, 3, 1)

    class Faulty(FilterBank):
        def forward(self, images: Tensor) -> Tensor:
            maps = super().forward(images)
            maps[(images - broken).abs().flatten(1).amax(1) < 1e-3, 2, 1, 1] = value
            return maps

    monkeypatch.setitem(EXTRACTORS, "filters", Faulty)
    with pytest.raises(ValueError, match="'side', frame 3"):
        extract_features(video, CONFIG, CPU)
    assert not list(cache.glob("*"))


def test_second_extraction_reads_the_cache(video: MultiViewVideo, made: list[nn.Module], cache: Path) -> None:
    first = extract_features(video, CONFIG, CPU)
    second = extract_features(video, CONFIG, CPU)
    assert len(made) == 1 and len(list(cache.iterdir())) == 1
    assert torch.equal(first.maps, second.maps) and torch.equal(first.valid, second.valid)


def test_cache_can_be_disabled(video: MultiViewVideo, made: list[nn.Module], cache: Path) -> None:
    for _ in range(2):
        extract_features(video, replace(CONFIG, cached=False), CPU)
    assert len(made) == 2 and not cache.exists()


def other_image(video: MultiViewVideo) -> FrameFeatures:
    frames = Noise()
    frames.images[4, 2, 0, 0, 3] ^= 1
    return extract_features(replace(video, frames=frames), CONFIG, CPU)


def other_valid(video: MultiViewVideo) -> FrameFeatures:
    valid = video.valid.clone()
    valid[1, 1] = False
    return extract_features(replace(video, valid=valid), CONFIG, CPU)


def other_settings(video: MultiViewVideo) -> FrameFeatures:
    return extract_features(video, replace(CONFIG, filters=FilterBankConfig(scales=(0.6,))), CPU)


def other_views(video: MultiViewVideo) -> FrameFeatures:
    return extract_features(video, CONFIG, CPU, views=[0, 2, 1])


def other_version(video: MultiViewVideo) -> FrameFeatures:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ds4d.features.extraction._VERSION", -1)
        return extract_features(video, CONFIG, CPU)


@pytest.mark.parametrize("change", [other_image, other_valid, other_settings, other_views, other_version])
def test_cache_key_covers_what_the_maps_depend_on(video: MultiViewVideo, made: list[nn.Module], change: Change) -> None:
    extract_features(video, CONFIG, CPU)
    change(video)
    assert len(made) == 2
    change(video)
    extract_features(video, CONFIG, CPU)
    assert len(made) == 2


def test_cache_key_covers_which_images_are_valid(video: MultiViewVideo, made: list[nn.Module]) -> None:
    frames = Noise()
    frames.images[:] = frames.images[0, 0]
    for absent in ((1, 1), (1, 2)):
        valid = video.valid.clone()
        valid[absent] = False
        features = extract_features(replace(video, frames=frames, valid=valid), CONFIG, CPU)
        assert (features.maps[absent] == 0).all()
    assert len(made) == 2


def test_cache_key_ignores_what_the_maps_do_not_depend_on(video: MultiViewVideo, made: list[nn.Module]) -> None:
    extract_features(video, CONFIG, CPU)
    extract_features(replace(video, duration=9.0), CONFIG, CPU, views=[0, 1, 2])
    assert len(made) == 1


def flip_last_bit(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "garbage": lambda data: b"\x00" * len(data),
    "a bit": flip_last_bit,
    "no digest": lambda data: data.replace(b"sha256", b"sha257", 1),
    "no maps": lambda data: data.replace(b'"maps"', b'"spam"', 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_replaced(video: MultiViewVideo, made: list[nn.Module], cache: Path, damage: str) -> None:
    first = extract_features(video, CONFIG, CPU)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](whole))
    assert torch.equal(extract_features(video, CONFIG, CPU).maps, first.maps)
    assert len(made) == 2 and path.read_bytes() == whole


def test_unwritable_cache_folder_warns(video: MultiViewVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    expected = extract_features(video, CONFIG, CPU)
    monkeypatch.setenv("DS4D_CACHE", str(tmp_path / "file" / "cache"))
    with notices_to((notices := []).append):
        features = extract_features(video, CONFIG, CPU)
    assert [(type(notice), notice.part) for notice in notices] == [(Warned, "cache")]
    assert torch.equal(features.maps, expected.maps)


def test_cache_key_covers_the_weights(video: MultiViewVideo, tmp_path: Path) -> None:
    """Other weights in the same folder give other features; cached features need no network."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    from ds4d.features import Dinov2Config

    settings = transformers.Dinov2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_ratio=1, image_size=28, patch_size=14
    )
    config = FeaturesConfig(kind="dinov2", dinov2=Dinov2Config(model=str(tmp_path / "net"), tokens=2))
    torch.manual_seed(0)
    transformers.Dinov2Model(settings).save_pretrained(tmp_path / "net")
    first = extract_features(video, config, CPU)
    assert first.maps.shape == (T, V, 8, 2, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXTRACTORS["dinov2"], "__init__", lambda *_: pytest.fail("loaded"))
        assert torch.equal(extract_features(video, config, CPU).maps, first.maps)
    torch.manual_seed(1)
    transformers.Dinov2Model(settings).save_pretrained(tmp_path / "net")
    assert not torch.equal(extract_features(video, config, CPU).maps, first.maps)


@pytest.mark.parametrize(
    "tensors", [{"x": torch.zeros(1)}, {"maps": torch.zeros(1)}, {"maps": torch.zeros(T, V, 2, 3, 4)}]
)
def test_other_tensors_under_the_same_name_are_made_again(
    cache: Path, video: MultiViewVideo, tensors: dict[str, Tensor]
) -> None:
    maps = extract_features(video, CONFIG, CPU).maps
    (path,) = cache.iterdir()
    write_cached("features", path.stem, tensors)
    assert torch.equal(extract_features(video, CONFIG, CPU).maps, maps)
