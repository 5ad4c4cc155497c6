import struct

import pytest
import torch

from ds4d.export import read_splat, write_splat
from ds4d.types import RawGaussians


def test_layout(tmp_path):
    raw = RawGaussians(
        means=torch.tensor([[1.0, 2.0, 3.0]]),
        quats=torch.tensor([[0.0, 0.0, -2.0, 0.0]]),
        log_scales=torch.tensor([[0.0, 0.5, -1.0]]),
        opacity_logits=torch.zeros(1),
        sh=torch.tensor([[[0.0, 10.0, -10.0], [9.0, 9.0, 9.0], [0.0] * 3, [0.0] * 3]]),
    )
    write_splat(raw, tmp_path / "one.splat")
    content = (tmp_path / "one.splat").read_bytes()
    numbers = struct.unpack("<6f8B", content)
    assert len(content) == 32
    assert numbers[:3] == (1.0, 2.0, 3.0)
    assert numbers[3:6] == pytest.approx((1.0, 2.718281828**0.5, 1 / 2.718281828))
    assert numbers[6:10] == (128, 255, 0, 128)  # gray, clamped both ways; degree 1 is ignored; opacity 0.5
    assert numbers[10:] == (128, 128, 0, 128)  # wxyz: y is -1


@pytest.mark.parametrize("degree", [0, 3])
def test_round_trip_up_to_quantization(tmp_path, random_gaussians, degree):
    raw = random_gaussians(degree, 200)
    write_splat(raw, tmp_path / "set.splat")
    read = read_splat(tmp_path / "set.splat")
    order = torch.cdist(read.means, raw.means).argmin(1)
    assert torch.equal(read.means, raw.means[order])
    torch.testing.assert_close(read.log_scales, raw.log_scales[order], atol=1e-6, rtol=0)
    before, after = raw.activate(), read.activate()
    assert (after.opacities - before.opacities[order]).abs().max() <= 1 / 510 + 1e-6
    similarity = (after.quats * before.quats[order]).sum(-1).abs()
    assert similarity.min() > 0.9998  # bytes: about half a degree
    assert (after.sh[:, 0] - before.sh[order, 0]).abs().max() <= 0.5 / 255 / 0.28209 + 1e-5


def test_large_and_opaque_gaussians_come_first(tmp_path, random_gaussians):
    write_splat(random_gaussians(0, 50), tmp_path / "set.splat")
    active = read_splat(tmp_path / "set.splat").activate()
    weight = active.scales.prod(-1) * active.opacities
    assert (weight.diff() <= 0.02 * weight[:-1]).all()  # opacities are rounded in the file


def test_errors(tmp_path, random_gaussians):
    raw = random_gaussians(0)
    with pytest.raises(ValueError, match="time axis"):
        write_splat(raw.expand_times(2), tmp_path / "set.splat")
    raw.means[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"set\.splat: means must be finite"):
        write_splat(raw, tmp_path / "set.splat")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"set\.splat"):
        read_splat(tmp_path / "set.splat")
    (tmp_path / "cut.splat").write_bytes(bytes(40))
    with pytest.raises(ValueError, match=r"cut\.splat .* got 40"):
        read_splat(tmp_path / "cut.splat")
