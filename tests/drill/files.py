"""Damaged and hostile files: byte by byte, value by value, tensor by tensor."""

import contextlib
import copy
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
import trimesh
from harness import EXPECTED, Bench, call, check_ending, limit_memory, same_results, survive
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save

from ds4d.data import load_views
from ds4d.io import encode_tensors, read_gltf
from ds4d.multiview import ViewsConfig
from ds4d.scene import BakedGaussians
from ds4d.shapes import read_points
from ds4d.shapes.gaussian_files import read_ply, read_splat

DEEP = "[" * 20_000 + "]" * 20_000
HOSTILE = [
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, -(10**30), 1e308, -1e308, float("nan"), float("inf"), 1e-320,
    "",
    "x", "../../../etc/passwd", "a" * 100_000, "\x1b]0;x\x07", "\x00", "http://127.0.0.1:9/x", "²", "DEEP", [], {},
    [[]],
    {"": 0}, [None] * 1000,
]  # fmt: skip
LENGTHS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x80\0\0\0"]


def mutate_bytes(source: bytes, random: Random) -> bytes:
    """Bytes changed anywhere or in the head, a piece cut, doubled or zeroed, a length made absurd."""
    data = bytearray(source)
    way, place = random.choice(["any", "any", "head", "cut", "double", "zero", "length"]), random.randrange(len(data))
    if way in ("any", "head"):
        end = min(200, len(data)) if way == "head" else len(data)
        for _ in range(random.choice([1, 1, 3, 10, 30])):
            data[random.randrange(end)] = random.randrange(256)
    elif way == "cut":
        del data[place:]
    elif way == "double":
        data[place:place] = data[place : place + 200]
    elif way == "zero":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    else:
        data[place : place + 4] = random.choice(LENGTHS)
    return bytes(data)


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


def mutate_json(value: Any, random: Random) -> str:
    """JSON with one or two values replaced by hostile ones, or removed."""
    value = copy.deepcopy(value)
    for _ in range(random.choice([1, 1, 2])):
        path = random.choice([place for place in _places(value) if place] or [()])
        if not path:
            continue
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        if random.random() < 0.1:
            del owner[path[-1]]
        else:
            owner[path[-1]] = random.choice(HOSTILE)
    return json.dumps(value).replace('"DEEP"', DEEP)


def _mutate_text(text: str, lines: bool, random: Random) -> bytes:
    if random.random() < 0.25:
        return mutate_bytes(text.encode(), random)
    if not lines:
        return mutate_json(json.loads(text), random).encode("utf-8", "surrogatepass")
    rows = text.splitlines()
    row = random.randrange(len(rows))
    rows[row] = mutate_json(json.loads(rows[row]), random)
    return "\n".join(rows).encode()


def attack_json(bench: Bench, random: Random, number: int) -> None:
    """A run's JSON through the commands that read it."""
    limit_memory()
    run = bench.copy_of_run()
    names = [
        name
        for name in ("config.json", "scene.json", "metrics.json", "video_crop.json", "log.jsonl")
        if (run / name).exists()
    ]
    name = names[number % len(names)]
    path = run / name
    path.write_bytes(_mutate_text(path.read_text(), name.endswith("l"), random))
    out = bench.folder / "out"
    report = ["report", run, "-o", out / "r.html"]
    commands = {
        "scene.json": [["export", run, "-o", out / "x.ply", "--times", "0"]],
        "video_crop.json": [["render", run, "--input-camera", "-o", out / "a.gif", "--seconds", "0.1", "--size", "16"]],
        "config.json": [report, bench.generate(bench.folder / "run", "--resume")],
    }
    for words in commands.get(name, [report]):
        survive(words)


def attack_input_json(bench: Bench, random: Random, number: int) -> None:
    """Transforms files of a folder of views, key frames, and the record of a sample."""
    limit_memory()
    if number % 4 == 0:
        keyframes = [{"time": 0, "azimuth": 0}, {"time": 1, "azimuth": 90, "elevation": 10, "distance": 2}]
        path = bench.folder / "keys.json"
        path.write_bytes(_mutate_text(json.dumps(keyframes), False, random))
        survive(
            ["render", bench.run, "--keyframes", path, "-o", bench.folder / "a.gif", "--size", "16", "--seconds", "0.1"]
        )
        return
    folder = Path(shutil.copytree(bench.sample, bench.folder / "views"))
    files = sorted(folder.glob("*.json"))
    path = files[number % len(files)]
    path.write_bytes(_mutate_text(path.read_text(), False, random))
    if path.name == "sample.json":
        survive(["sample", folder, "--size", "16", "--frames", "2", "--quiet"])
        return
    with contextlib.suppress(*EXPECTED):
        load_views(folder, ViewsConfig())


def _variants(path: Path, random: Random) -> bytes:
    """A safetensors file whose tensors or record are other than expected, with a right digest where there is one."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
    name = random.choice(sorted(tensors))
    value = tensors[name]
    changes = [
        lambda: value.int(), lambda: value > 0, lambda: value.half(), lambda: value.double(), lambda: value[:-1],
        lambda: torch.full(value.shape, float("nan")), lambda: torch.full(value.shape, float("inf")),
        lambda: torch.full(value.shape, 3e38), lambda: value[None], lambda: value.new_zeros(0), lambda: value.flatten(),
        lambda: -value.float(), lambda: value.long() + 10**12, lambda: None,
    ]  # fmt: skip
    if random.random() < 0.3 and metadata:
        key = random.choice(sorted(metadata))
        try:
            metadata[key] = mutate_json(json.loads(metadata[key]), random)
        except ValueError:
            metadata[key] = random.choice(["", "x", "[1]", "null", "1"])
    else:
        try:
            changed = random.choice(changes)()
        except (RuntimeError, IndexError):
            changed = None
        del tensors[name]
        if changed is not None:
            tensors[name] = changed
    tensors = {key: tensor.contiguous() for key, tensor in tensors.items()}
    if random.random() < 0.7:
        metadata.pop("sha256", None)
        return b"".join(encode_tensors(tensors, metadata))
    return save(tensors, metadata=metadata)


def damage_tensors(path: Path, random: Random) -> bool:
    """Damages a safetensors file; returns whether the digest in it must have noticed."""
    source = path.read_bytes()
    way = random.randrange(4)
    if way == 0:
        path.write_bytes(struct.pack("<Q", random.choice([0, 1, 2**20, 2**40, 2**63])) + source[8:])
    elif way == 1:
        path.write_bytes(_variants(path, random))
        return False
    elif way == 2:
        flipped = bytearray(source)
        flipped[random.randrange(len(source) // 2, len(source))] ^= 1 << random.randrange(8)
        path.write_bytes(flipped)
    else:
        path.write_bytes(mutate_bytes(source, random))
    return path.read_bytes() != source


def attack_scene(bench: Bench, random: Random, number: int) -> None:
    """The scene of a run and its baked form."""
    limit_memory()
    run = bench.copy_of_run()
    name = ("scene.safetensors", "baked.safetensors")[number % 2]
    noticed = damage_tensors(run / name, random)
    if name == "scene.safetensors":
        code = survive(["export", run, "-o", bench.folder / "x.ply", "--times", "0"])
        assert code == 2 or not noticed, "a damaged scene was exported"
    else:
        try:
            BakedGaussians.load(run, torch.device("cpu"))
        except EXPECTED as error:
            assert name.partition(".")[0] in str(error), f"the error does not name the file: {error!r}"
        else:
            assert not noticed, "a damaged baked scene was read"


def attack_checkpoint(bench: Bench, random: Random, number: int) -> None:
    """A checkpoint: refused, or the one before it used with the same result."""
    limit_memory()
    run = bench.copy_of_run()
    for name in ("metrics.json", "scene.json", *("scene.safetensors", "baked.safetensors")):
        (run / name).unlink()
    last = run / "checkpoints" / "last.safetensors"
    others = [path for path in last.parent.iterdir() if path != last]
    noticed = damage_tensors(last, random)
    if number % 2:
        for path in others:
            path.unlink()
    code, text = call(bench.generate(run, "--resume"))
    if not noticed:  # what a stranger has made with a right digest may also diverge
        check_ending(["--resume"], code, text, 0, 1, 2)
    else:
        check_ending(["--resume"], code, text, *((2,) if number % 2 else (0,)))
        assert code or same_results(run, bench.run), "a damaged checkpoint changed the result"


def attack_media(bench: Bench, random: Random, number: int) -> None:
    """Videos, animations, images and folders of them through `check`."""
    limit_memory()
    kind = ("mp4", "gif", "png", "webm", "jpg", "webp", "tiff", "mkv")[number % 8]
    frames = sorted((bench.sample / "front").glob("*.png"))
    target = bench.folder / f"x.{kind}"
    if kind in ("png", "jpg", "webp", "tiff"):
        target = bench.folder / "frames"
        target.mkdir()
        for index, frame in enumerate(frames):
            Image.open(frame).convert("RGB" if kind == "jpg" else "RGBA").save(target / f"{index}.{kind}")
        path = target / f"2.{kind}"
        path.write_bytes(mutate_bytes(path.read_bytes(), random))
    elif kind == "mp4":
        target.write_bytes(mutate_bytes((bench.sample / "front.mp4").read_bytes(), random))
    else:
        target.write_bytes(mutate_bytes((bench.run.parent / f"front.{kind}").read_bytes(), random))
    survive(["check", target, "--size", "32"], 0, 1, 2)


def make_media(sample: Path, folder: Path) -> None:
    """Writes the sample's video in the formats that `attack_media` damages."""
    import av

    frames = [Image.open(path).convert("RGB") for path in sorted((sample / "front").glob("*.png"))]
    frames[0].save(folder / "front.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)
    for kind, codec in (("webm", "libvpx"), ("mkv", "mpeg4")):
        with av.open(str(folder / f"front.{kind}"), "w") as container:
            stream = container.add_stream(codec, rate=8)
            stream.width, stream.height, stream.pix_fmt = (*frames[0].size, "yuv420p")
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))
            container.mux(stream.encode(None))


def attack_shapes(bench: Bench, random: Random, number: int) -> None:
    """PLY, OBJ, GLB and splat files through their readers."""
    limit_memory()
    kind = ("ply", "glb", "obj", "gaussians", "splat", "text ply")[number % 6]
    generator = torch.Generator().manual_seed(0)
    if kind == "gaussians":
        path, source = bench.folder / "x.ply", (bench.run / "middle.ply").read_bytes()
    elif kind == "splat":
        path, source = bench.folder / "x.splat", bytes(random.randrange(256) for _ in range(32 * 20))
    else:
        encoding = {"encoding": "ascii"} if kind == "text ply" else {}
        suffix = kind.rpartition(" ")[2]
        box = trimesh.creation.box().export(file_type=suffix, **encoding)
        path, source = bench.folder / f"x.{suffix}", box.encode() if isinstance(box, str) else box
    mutate = _mutate_glb if kind == "glb" and random.random() < 0.6 else mutate_bytes
    path.write_bytes(mutate(source, random))
    readers = [lambda: read_points(path, 50, generator)]
    if kind == "glb":
        readers.append(lambda: read_gltf(path))
    elif kind == "gaussians":
        readers = [lambda: read_ply(path), *readers]
    elif kind == "splat":
        readers = [lambda: read_splat(path)]
    for read in readers:
        try:
            read()
        except EXPECTED as error:
            assert path.stem in str(error), f"the error does not name the file: {error!r}"


def _mutate_glb(source: bytes, random: Random) -> bytes:
    length = struct.unpack("<I", source[12:16])[0]
    text = mutate_json(json.loads(source[20 : 20 + length]), random).encode()
    text += b" " * (-len(text) % 4)
    rest = source[20 + length :]
    return (
        struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + rest
    )


NAMES = [
    "a:b", "http:x", "concat:a|b", "file:x", "data:x", "%d", "%05d.png", "-x", "--help", "a\nb", "a\x1b]0;x\x07", "'",
    '"',
    "é", "😀", "²1", "a" * 250, "a" * 300, "a/" * 2100 + "a", "\udcff", " ", ".", "~nobody", "~", "con", "*", "$(x)",
    "{x}",
]  # fmt: skip


def attack_names(bench: Bench, random: Random, number: int) -> None:
    """Odd names of inputs that are there, are not there, or are no files, and of outputs."""
    limit_memory()
    name, suffix = NAMES[number % len(NAMES)], random.choice([".mp4", ".png", "", ".json", ".ply", ".gif"])
    path = bench.folder / f"{name}{suffix}"
    way = number // len(NAMES) % 3
    try:
        if way == 0:
            path.write_bytes((bench.sample / "front.mp4").read_bytes())
        elif way == 1:
            path.symlink_to(path)
    except (OSError, ValueError):
        pass
    commands = [
        ["check", path], ["report", path],
        ["render", bench.run, "--azimuth", "0", "-o", path, "--size", "16", "--seconds", "0.1"],
        ["export", bench.run, "-o", path], ["eval", path],
        ["multiview", path, "-o", bench.folder / "mv", "--size", "48"],
    ]  # fmt: skip
    words = commands[random.randrange(len(commands))]
    code, text = call(words)
    check_ending([str(word) for word in words], code, text, 0, 1, 2)


NUMBERS = ["0", "-1", "1e300", "nan", "inf", "-inf", "1e15", "1000000", "1" * 30, "", "x", "0x10", "1e-300", "²"]


def attack_arguments(bench: Bench, random: Random, number: int) -> None:
    """Absurd values of options."""
    limit_memory()
    value = NUMBERS[number % len(NUMBERS)]
    out = bench.folder / "x.gif"
    options = [
        ["render", bench.run, "--azimuth", "0", "-o", out, "--seconds", value],
        ["render", bench.run, "--azimuth", "0", "-o", out, "--size", value],
        ["render", bench.run, "--azimuth", "0", "-o", out, "--fps", value, "--seconds", "0.1"],
        ["check", bench.sample / "front.mp4", "--size", value],
        ["export", bench.run, "-o", bench.folder / "x.ply", "--times", value],
        ["sample", bench.folder / "s", "--frames", value], ["sample", bench.folder / "s", "--size", value],
        [*bench.generate(bench.folder / "run"), "--training.static-steps", value],
        [*bench.generate(bench.folder / "run"), "--init.num-gaussians", value],
        [*bench.generate(bench.folder / "run"), "--seed", value],
        [*bench.generate(bench.folder / "run"), "--field.hexplane.resolution", value],
    ]  # fmt: skip
    words = options[number // len(NUMBERS) % len(options)]
    if value == "1000000" and words[-2] in ("--training.static-steps", "--frames"):
        return  # honest work of hours
    code, text = call(words)
    check_ending([str(word) for word in words], code, text, 0, 1, 2)
