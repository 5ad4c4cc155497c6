"""What every feature extractor guarantees."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ds4d.decoupling import REFERENCES, decouple, dynamic_fraction, reference_basis
from ds4d.features import EXTRACTORS, Dinov2Config, FeatureExtractor, FilterBankConfig

CELLS = (4, 6)  # of the test images

every_extractor = pytest.mark.parametrize("kind", EXTRACTORS)
Make = Callable[[str], nn.Module]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random DINOv2 of the real class."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        patch_size=14,
        image_size=70,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("network")
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Callable[[str], object]:
    """Settings of each extractor; a new extractor needs a line here."""
    made = {
        "filters": lambda: FilterBankConfig(scales=(0.5, 1.5)),
        "dinov2": lambda: Dinov2Config(model=str(request.getfixturevalue("network")), tokens=max(CELLS), batch_size=3),
    }
    return lambda kind: made[kind]()


@pytest.fixture
def make(settings: Callable[[str], object]) -> Make:
    return lambda kind: EXTRACTORS[kind](settings(kind))


def batch(extractor: nn.Module, *batch: int) -> Tensor:
    """Random images of `CELLS` cells."""
    generator = torch.Generator().manual_seed(1)
    height, width = (cells * extractor.stride for cells in CELLS)  # ty: ignore[unsupported-operator]
    return torch.rand(*batch, 3, height, width, generator=generator)


@every_extractor
def test_maps_have_the_stated_stride_and_channels(kind: str, make: Make) -> None:
    extractor = make(kind)
    assert isinstance(extractor, FeatureExtractor)
    maps = extractor(batch(extractor, 2, 5))
    assert maps.shape == (2, 5, extractor.channels, *CELLS)
    assert maps.dtype == torch.float32 and maps.isfinite().all()


@every_extractor
def test_batch_equals_single_images(kind: str, make: Make) -> None:
    extractor = make(kind)
    stack = batch(extractor, 4)
    torch.testing.assert_close(extractor(stack), torch.stack([extractor(one) for one in stack]), atol=1e-5, rtol=1e-5)
    assert extractor.batch_size >= 1


@every_extractor
def test_frozen_and_deterministic(kind: str, make: Make) -> None:
    extractor = make(kind)
    images = batch(extractor, 2).requires_grad_()
    maps = extractor(images)
    assert not maps.requires_grad and not any(p.requires_grad for p in extractor.parameters())
    assert torch.equal(maps, make(kind)(images))


@every_extractor
@pytest.mark.parametrize("cell", [(0, 0), (1, 4), (3, 5)])
def test_cells_depend_on_their_part_of_the_image(kind: str, make: Make, cell: tuple[int, int]) -> None:
    extractor = make(kind)
    plain = torch.full_like(batch(extractor), 0.2)
    lit, (row, column), stride = plain.clone(), cell, extractor.stride
    lit[:, row * stride : (row + 1) * stride, column * stride : (column + 1) * stride] = 1.0  # ty: ignore[unsupported-operator]
    changes = (extractor(lit) - extractor(plain)).norm(dim=0)
    assert divmod(int(changes.argmax()), CELLS[1]) == cell


@every_extractor
def test_weights_digest_is_deterministic(kind: str, settings: Callable[[str], object]) -> None:
    first, again = (EXTRACTORS[kind].weights_digest(settings(kind)) for _ in range(2))
    assert isinstance(first, str) and first == again


@every_extractor
@pytest.mark.parametrize("reference", REFERENCES)
def test_only_changing_videos_have_a_dynamic_part(kind: str, make: Make, reference: str) -> None:
    extractor = make(kind)
    video = extractor(batch(extractor, 5, 2))
    static = video[:1].expand(5, -1, -1, -1, -1)
    fractions = [dynamic_fraction(decouple(maps, reference_basis(maps, reference))) for maps in (static, video)]
    assert fractions[0].max() < 1e-3
    assert fractions[1].mean() > 0.02
