import torch

from ds4d.lift_training.model_pool import ModelPool, Samples
from ds4d.lift_training.warp import WarpSettings, random_warps, warped


def test_normals_stay_perpendicular_to_the_surface(pool: ModelPool) -> None:
    """On the warped surface, by finite differences along two tangents of each sample."""
    generator = torch.Generator().manual_seed(3)
    samples = pool.samples(pool.choose(4, generator))
    positions, normals = samples.positions[:, :500].double(), samples.normals[:, :500].double()
    warps = random_warps(4, WarpSettings(chance=1.0), generator, torch.device("cpu"))
    tangent = torch.linalg.cross(normals, torch.randn(4, 500, 3, generator=generator).double())
    for along in (tangent, torch.linalg.cross(normals, tangent)):
        three = torch.cat((positions, positions + 1e-4 * along, positions - 1e-4 * along), 1)
        result = warped(Samples(three, normals.repeat(1, 3, 1)), warps)
        ahead, behind = result.positions[:, 500:1000], result.positions[:, 1000:]
        turned = result.normals[:, :500]
        cosines = torch.nn.functional.cosine_similarity(ahead - behind, turned, dim=-1)
        assert cosines.abs().max() < 1e-4


def test_a_chance_of_zero_leaves_models_as_they_are(pool: ModelPool) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = pool.samples(pool.choose(3, generator))
    same = warped(samples, random_warps(3, WarpSettings(chance=0.0), generator, torch.device("cpu")))
    torch.testing.assert_close(same.positions, samples.positions)
    torch.testing.assert_close(same.normals, samples.normals, atol=1e-6, rtol=0)


def test_warps_leave_the_mean_of_a_model_where_it_is(pool: ModelPool) -> None:
    generator = torch.Generator().manual_seed(0)
    samples = pool.samples(pool.choose(3, generator))
    moved = warped(samples, random_warps(3, WarpSettings(chance=1.0), generator, torch.device("cpu"))).positions
    assert (moved - samples.positions).norm(dim=-1).amax(1).min() > 0.05
    torch.testing.assert_close(moved.mean(1), samples.positions.mean(1), atol=1e-5, rtol=0)


def test_warps_differ_between_images_and_do_not_fold() -> None:
    generator = torch.Generator().manual_seed(1)
    warps = random_warps(64, WarpSettings(chance=1.0), generator, torch.device("cpu"))
    gradients = (warps.waves.norm(dim=-1) * warps.displacements.norm(dim=-1)).sum(1)
    assert gradients.max() < 1
    assert len(gradients.unique()) == 64
