import hashlib
import json
import math

import numpy as np
import pytest
import torch

from ds4d.data.synthetic import (
    SPLITS,
    SampleConfig,
    dataset,
    moving_mask,
    render_sample,
    sample_video,
    surface_points,
    write_sample,
)
from ds4d.data.synthetic.anatomy import pose_parts
from ds4d.data.synthetic.creature import JOINTS, PARTS
from ds4d.data.synthetic.ray_tracing import Pinhole, trace
from ds4d.data.synthetic.shading import shade
from ds4d.data.transforms import load_transforms
from ds4d.geometry import frame_times, orbit_cameras, project_points, rig_cameras
from ds4d.io import read_rgba
from ds4d.types import Cameras

SIZE = 64
TINY = SampleConfig(frames=3, size=32, supersampling=2)


@pytest.fixture(scope="module")
def cameras() -> Cameras:
    """All eleven views."""
    return rig_cameras(tuple(view for rig in SPLITS.values() for view in rig), SIZE, SIZE)


def single_ray(viewmat: np.ndarray, x: float, y: float) -> Pinhole:
    """A camera of one ray, towards (x, y, 1)."""
    return Pinhole(viewmat, np.array([[1, 0, 0.5 - x], [0, 1, 0.5 - y], [0, 0, 1.0]]), 1, 1)


def test_a_ray_traced_ball_has_its_exact_outline_and_depth():
    radius, distance, focal, size = 0.5, 2.0, 400.0, 256
    viewmat = np.eye(4)
    viewmat[2, 3] = distance
    K = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    hits = trace(np.diag([radius, radius, radius, 1])[None], Pinhole(viewmat, K, size, size), align=1)
    area = math.pi * (focal * radius / math.sqrt(distance**2 - radius**2)) ** 2
    assert (hits.parts == 0).sum() == pytest.approx(area, rel=2e-3)
    assert hits.depths.min() == pytest.approx(distance - radius, abs=1e-5)


def test_windows_bound_the_ellipsoid(rng):
    camera = orbit_cameras([40.0], [25.0], fovy_deg=60.0, distance=2.0, width=300, height=200)
    pinhole = Pinhole(camera.viewmats[0].double().numpy(), camera.Ks[0].double().numpy(), 300, 200)
    on_sphere = rng.normal(size=(5000, 3))
    on_sphere /= np.linalg.norm(on_sphere, axis=-1, keepdims=True)
    for _ in range(5):
        shape = np.eye(4)
        shape[:3, :3] = rng.normal(size=(3, 3)) * 0.15
        shape[:3, 3] = rng.uniform(-0.2, 0.2, 3)
        hits = trace(shape[None], pinhole, align=1)
        points = torch.from_numpy(on_sphere @ shape[:3, :3].T + shape[:3, 3]).float()
        columns, rows = project_points(points, camera)[0][0].T.numpy()
        height, width = hits.parts.shape
        assert hits.left <= columns.min() < hits.left + 1
        assert hits.left + width - 1 < columns.max() <= hits.left + width
        assert hits.top <= rows.min() < hits.top + 1
        assert hits.top + height - 1 < rows.max() <= hits.top + height


def test_no_surface_point_is_in_front_of_the_ray_traced_surface():
    viewmat = rig_cameras(SPLITS["mv"], 8, 8).viewmats[0].double().numpy()
    shapes = pose_parts(PARTS, JOINTS, 0.4)
    points = surface_points(torch.tensor([0.4]), 200, seed=3)[0].double().numpy()
    seen = 0
    for x, y, z in points @ viewmat[:3, :3].T + viewmat[:3, 3]:
        depth = trace(shapes, single_ray(viewmat, x / z, y / z), align=1).depths.item()
        assert depth < z + 1e-4
        seen += abs(depth - z) < 1e-4
    assert 0.3 < seen / len(points) < 0.7


def test_colors_do_not_depend_on_the_view():
    viewmats = rig_cameras((SPLITS["front"][0], SPLITS["test"][1]), 8, 8).viewmats.double().numpy()
    shapes = pose_parts(PARTS, JOINTS, 0.7)
    points = surface_points(torch.tensor([0.7]), 80, seed=1)[0].double().numpy()
    compared = 0
    for point in points:
        colors = []
        for viewmat in viewmats:
            x, y, z = viewmat[:3, :3] @ point + viewmat[:3, 3]
            hits = trace(shapes, single_ray(viewmat, x / z, y / z), align=1)
            if abs(hits.depths.item() - z) < 1e-5:
                colors.append(shade(hits, PARTS, shapes, viewmat).ravel())
        if len(colors) == 2:
            compared += 1
            assert np.abs(colors[0] - colors[1]).max() < 5e-3
    assert compared > 10


def test_fits_the_ball_of_radius_one_half():
    reach = surface_points(frame_times(25), 4000, seed=0).norm(dim=-1).max().item()
    assert 0.45 < reach < 0.5


def test_surface_points_project_onto_the_masks(cameras):
    times = frame_times(4)
    silhouettes = render_sample(cameras, times, supersampling=2)[..., 3] > 0
    pixels, _ = project_points(surface_points(times, 500, seed=0), _over_times(cameras, 4))
    columns, rows = pixels.floor().long().clamp(0, SIZE - 1).movedim(-1, 0).numpy()
    grown = torch.nn.functional.max_pool2d(torch.from_numpy(silhouettes).float(), 3, stride=1, padding=1).numpy()
    time, view = np.indices(columns.shape)[:2]
    assert (grown[time, view, rows, columns] == 1).all()
    # and they reach all of it: few silhouette pixels have no point within three pixels
    dotted = np.zeros_like(grown)
    dotted[time, view, rows, columns] = 1
    dotted = torch.nn.functional.max_pool2d(torch.from_numpy(dotted), 7, stride=1, padding=3).numpy()
    assert dotted[silhouettes].mean() > 0.97


def _over_times(cameras: Cameras, count: int) -> Cameras:
    return cameras.expand_times(count)


def test_static_parts_are_static_and_moving_parts_move(cameras):
    times = frame_times(5)
    images = render_sample(cameras, times, supersampling=1)
    moving = moving_mask(cameras, times)
    never = ~moving.any(0)
    assert (images[:, never] == images[:1, never]).all()
    seen = images[..., 3] == 255
    assert not (moving & ~seen).any()
    for view in range(cameras.num_views):
        assert 0.2 < moving[:, view].sum() / seen[:, view].sum() < 0.8
        assert (images[0, view] != images[1, view]).any(-1).sum() > 100


def test_surface_points_are_the_same_at_any_times():
    times = torch.tensor([0.0, 0.3, 0.9])
    points = surface_points(times, 600, seed=5)
    assert torch.equal(surface_points(times[1:2], 600, seed=5), points[1:2])
    assert not torch.equal(surface_points(times, 600, seed=6), points)
    travel = (points - points[:1]).norm(dim=-1).amax(0)
    assert 0.3 < (travel < 1e-6).float().mean() < 0.7
    assert travel.max() > 0.1


def test_images_repeat_and_have_clean_alpha(cameras):
    times = torch.tensor([0.0, 1.0])
    images = render_sample(cameras, times)
    assert np.array_equal(images, render_sample(_over_times(cameras, 2), times))
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1  # the motion is periodic
    assert (images[images[..., 3] == 0] == 0).all()
    edges = (images[..., 3] > 0) & (images[..., 3] < 255)
    assert edges.any()
    assert not images[..., [0, -1], :, 3].any() and not images[..., [0, -1], 3].any()


def test_supersampling_averages_the_finer_image(cameras):
    one = orbit_cameras([20.0], [5.0], fovy_deg=33.9, distance=2.0, width=SIZE, height=SIZE)
    times = torch.tensor([0.25])
    fine = render_sample(one.resized(3 * SIZE, 3 * SIZE), times, supersampling=1)[0, 0] / 255
    fine[..., :3] *= fine[..., 3:]
    coarse = render_sample(one, times, supersampling=3)[0, 0] / 255
    coarse[..., :3] *= coarse[..., 3:]
    means = fine.reshape(SIZE, 3, SIZE, 3, 4).mean((1, 3))
    assert np.abs(means - coarse).max() < 1.5 / 255


def test_the_face_looks_towards_azimuth_zero(cameras):
    images = render_sample(rig_cameras((*SPLITS["front"], SPLITS["test"][3]), 128, 128), torch.zeros(1))[0]
    pupils = ((images[..., :3] < 45).all(-1) & (images[..., 3] == 255)).sum((1, 2))
    assert pupils[0] > 40
    assert pupils[1] == 0
    # The creature greets with its right arm, which stands at -x: left in the front image.
    arms = [surface for surface in PARTS if surface.joint == "right arm"]
    assert all(part.shape[0, 3] < 0 for part in arms)


def test_positive_azimuth_is_towards_positive_x():
    camtoworlds = torch.linalg.inv(rig_cameras(SPLITS["mv"], 8, 8).viewmats)
    assert camtoworlds[1, :3, 3].tolist() == pytest.approx(
        [2 * math.cos(math.radians(10)), -2 * math.sin(math.radians(10)), 0], abs=1e-5
    )


def test_a_written_folder_is_loaded(tmp_path):
    write_sample(tmp_path / "sample", TINY)
    for splits in (("front", "mv"), ("test",)):
        loaded, made = load_transforms(tmp_path / "sample", splits=splits), sample_video(TINY, splits)
        assert loaded.view_names == made.view_names
        assert torch.allclose(loaded.times, made.times, atol=1e-5)
        assert torch.allclose(loaded.cameras.viewmats, made.cameras.viewmats, atol=1e-5)
        assert torch.allclose(loaded.cameras.Ks, made.cameras.Ks, rtol=1e-5)
        for time in range(made.num_times):
            for view in range(made.num_views):
                assert np.array_equal(loaded.frames.read(time, view), made.frames.read(time, view))
    head = json.loads((tmp_path / "sample" / "transforms_test.json").read_text())
    assert (head["w"], head["h"], len(head["frames"])) == (32, 32, 12)
    assert head["camera_angle_x"] == pytest.approx(0.591666616)
    last = head["frames"][-1]
    assert {key: last[key] for key in ("file_path", "image", "time", "frame", "view")} == {
        "file_path": "./test/test3_002", "image": "test/test3_002.png", "time": 1.0, "frame": 2, "view": "test3",
    }  # fmt: skip
    assert (tmp_path / "sample" / "front.mp4").stat().st_size > 0


def test_an_earlier_sample_is_replaced(tmp_path):
    write_sample(tmp_path, TINY)
    write_sample(tmp_path, SampleConfig(frames=1, size=24, supersampling=1))
    assert [path.name for path in (tmp_path / "front").iterdir()] == ["000.png"]
    assert read_rgba(tmp_path / "front" / "000.png").shape == (24, 24, 4)


def test_folders_with_other_content_are_refused(tmp_path):
    write_sample(tmp_path / "sample", SampleConfig(frames=1, size=16, supersampling=1))
    (tmp_path / "sample" / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, found in (("sample", "notes.txt"), ("other", "thesis.tex"), ("file", "file")):
        with pytest.raises(ValueError, match=found):
            write_sample(tmp_path / name, TINY)
    assert (tmp_path / "other" / "thesis.tex").read_text() == "mine"


def _add(folder):
    (folder / "front" / "notes.txt").write_text("mine")


def _add_folder(folder):
    (folder / "mv" / "run").mkdir()


def _change(folder):
    (folder / "test" / "test0_000.png").write_bytes(b"mine")


def _link(folder):
    (folder / "front" / "000.png").rename(folder.parent / "000.png")
    (folder / "front" / "000.png").symlink_to(folder.parent / "000.png")


def _claim(folder):
    """A record that names a file as part of the sample that no sample has."""
    (folder / "thesis.tex").write_text("mine")
    record = json.loads((folder / "sample.json").read_text())
    record["sha256"]["thesis.tex"] = hashlib.sha256(b"mine").hexdigest()
    (folder / "sample.json").write_text(json.dumps(record))


def _forget(folder):
    (folder / "sample.json").write_text('{"made_by": "ds4d sample"}')


@pytest.mark.parametrize("change", [_add, _add_folder, _change, _link, _claim, _forget])
def test_a_sample_with_anything_else_in_it_is_kept(tmp_path, change):
    folder = tmp_path / "sample"
    write_sample(folder, SampleConfig(frames=1, size=16, supersampling=1))
    change(folder)
    before = {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}
    with pytest.raises(ValueError, match="sample"):
        write_sample(folder, TINY)
    assert {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")} == before


def test_what_appears_during_the_work_is_kept(tmp_path, monkeypatch):
    config, write_split = SampleConfig(frames=1, size=16, supersampling=1), dataset._write_split
    write_sample(tmp_path / "sample", config)

    def write_and_add(*args):
        write_split(*args)
        (tmp_path / "sample" / "mv" / "notes.txt").write_text("mine")

    monkeypatch.setattr(dataset, "_write_split", write_and_add)
    with pytest.raises(ValueError, match=r"notes\.txt"):
        write_sample(tmp_path / "sample", config)
    assert (tmp_path / "sample" / "mv" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "sample" / "front.mp4").is_file()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "write_video", fail)
    with pytest.raises(OSError, match="disk full"):
        write_sample(tmp_path / "sample", SampleConfig(frames=1, size=16, supersampling=1))
    assert list(tmp_path.iterdir()) == []


def test_errors_name_what_is_wrong(cameras):
    inside = orbit_cameras([0.0], [0.0], fovy_deg=33.9, distance=0.1, width=8, height=8)
    with pytest.raises(ValueError, match="in front of the camera"):
        render_sample(inside, torch.zeros(1))
    with pytest.raises(ValueError, match="3 times"):
        moving_mask(_over_times(cameras, 2), frame_times(3))
    with pytest.raises(ValueError, match="frames"):
        SampleConfig(frames=0)
