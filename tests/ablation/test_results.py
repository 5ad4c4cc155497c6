"""Result files: round trips, damage, and results that cannot be compared."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ds4d.ablation.results import read_results, settings_hash
from ds4d.presets import tiny

Plan = Callable[..., list]
Write = Callable[..., Path]


def test_results_round_trip(tmp_path: Path, make_plan: Plan, write: Write) -> None:
    fit = make_plan()[0]
    path = write(tmp_path, fit, psnr=21.5, ssim=math.nan)
    assert path == tmp_path / "results" / "fox-A-seed0.json"
    (found,) = read_results(tmp_path)
    assert (found.name, found.variant, found.seed, found.seconds) == ("fox-A-seed0", "A", 0, 2.0)
    assert found.metrics["psnr"] == 21.5 and math.isnan(found.metrics["ssim"])
    assert found.settings == fit.settings
    content = json.loads(path.read_text())
    assert content["metrics"]["ssim"] is None
    assert content["settings_hash"] == settings_hash(fit.settings)
    assert read_results(tmp_path / "nothing") == []


def test_the_hash_depends_on_what_determines_the_fit(make_plan: Plan) -> None:
    def digest(**changes) -> str:
        return settings_hash(make_plan(preset=replace(tiny(), **changes))[0].settings)

    usual = digest()
    assert usual == settings_hash(dict(reversed(make_plan()[0].settings.items())))
    assert digest(outputs=replace(tiny().outputs, fps=7.0), checkpoint_every=3) == usual
    assert digest(training=replace(tiny().training, dynamic_steps=7)) != usual
    fit = make_plan()[0]
    assert settings_hash(replace(fit, scene=replace(fit.scene, data=Path("elsewhere"))).settings) == usual
    assert settings_hash(replace(fit, scene=replace(fit.scene, perturbed=True)).settings) != usual


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-20], "fox-A-seed0.json must be the result of a fit"),
        (lambda text: text.replace('"seconds"', '"second"'), "fox-A-seed0.json must be .*second"),
        (lambda text: text.replace('"dynamic_steps": 500', '"dynamic_steps": 501'), "hash"),
        (lambda text: text.replace('"scene": "fox"', '"scene": "dog"'), "dog-A-seed0"),
        (lambda text: "[]", "Remove it"),
    ],
)
def test_damaged_files_are_named(
    tmp_path: Path, make_plan: Plan, write: Write, change: Callable[[str], str], message: str
) -> None:
    path = write(tmp_path, make_plan()[0], psnr=1.0)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path)


def test_results_of_other_settings_do_not_mix(tmp_path: Path, make_plan: Plan, write: Write) -> None:
    first, second = make_plan(seeds=1, variants=("A",))
    write(tmp_path, first, psnr=1.0)
    longer = replace(tiny(), training=replace(tiny().training, dynamic_steps=501))
    theirs = write(tmp_path, make_plan(seeds=1, variants=("B",), preset=longer)[1], psnr=1.0)
    with pytest.raises(ValueError, match=r"frog-B-seed0\.json .*fox-A-seed0\.json, got another preset\.training\.dyn"):
        read_results(tmp_path)
    theirs.unlink()
    changed = write(
        tmp_path, replace(second, config=replace(second.config, training=longer.training)), psnr=1.0
    )  # the variant itself has changed
    with pytest.raises(ValueError, match=r"another variant A\.training\.dynamic_steps"):
        read_results(tmp_path)
    changed.unlink()
    write(tmp_path, replace(second, scene=replace(second.scene, perturbed=True)), psnr=1.0)
    with pytest.raises(ValueError, match="perturbation of scenes scored on held-out views"):
        read_results(tmp_path)
