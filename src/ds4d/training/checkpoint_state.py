"""What the state in a checkpoint must be, before a trainer takes any of it over."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ds4d.io import is_finite, is_finite_number
from ds4d.scene.lifetimes import finite_lifetimes
from ds4d.scene.motion import ROOT, has_root
from ds4d.training.averaging import COUNT
from ds4d.training.trainer import Trainer

_MAX_GAUSSIANS = 10**8
_COUNTED = ("scene/gaussians.", "densification/", "neighbors")  # their first axis is that of the Gaussians
_ADAM = ("step", "exp_avg", "exp_avg_sq")


def check_state(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Refuses a state that `Trainer.load_state_dict` would take over and fail on later.

    Args:
        trainer: a trainer for the same video and config, at its first step.
        state: nested dicts of tensors, numbers and lists, as `Trainer.state_dict` makes them.

    Raises:
        ValueError: a part is missing or too many, of another shape or kind, or outside its range.
        KeyError: a part of the Gaussians is missing.
    """
    expected = trainer.state_dict()
    _expect_lifetimes(expected["scene"], state["scene"])
    if not has_root(state["scene"]):  # training may have found that the object does not turn
        expected["scene"] = {name: part for name, part in expected["scene"].items() if not name.startswith(ROOT)}
    count = len(state["scene"]["gaussians.means"])
    if not 1 <= count <= _MAX_GAUSSIANS:
        raise ValueError(f"there must be 1 to {_MAX_GAUSSIANS} Gaussians, got {count}")
    for name in ("optimizer", "average", "sampler", "early_end"):
        expected.pop(name)
    _check_tree({name: part for name, part in state.items() if name in expected}, expected, count)
    if state.keys() != trainer.state_dict().keys():
        raise ValueError(f"it must hold {', '.join(trainer.state_dict())}, got {', '.join(state)}")
    _check_early_end(trainer, state["early_end"])
    _check_numbers(state, count, state["early_end"].get("end_step", trainer.config.total_steps))
    _check_sampler(state["sampler"], *trainer.video.valid.shape)
    _check_optimizer(trainer, state["optimizer"], count)
    _check_average(trainer, state["average"], state["scene"])


def _expect_lifetimes(expected: dict[str, Any], found: Mapping[str, Any]) -> None:
    """Lifetimes may come while a scene is trained: they are expected where they are found, and only there."""
    name = "gaussians.lifetimes"
    expected.pop(name, None)
    if name in found:
        expected[name] = torch.zeros(1, 2)
        if isinstance(found[name], Tensor) and found[name].ndim == 2 and found[name].shape[1] == 2:
            finite_lifetimes(found[name].float())


def _check_tree(state: Mapping[str, Any], expected: Mapping[str, Any], count: int, where: str = "") -> None:
    if not isinstance(state, Mapping) or state.keys() != expected.keys():
        raise ValueError(f"{where or 'it'} must hold {', '.join(expected)}")
    for name, wanted in expected.items():
        if isinstance(wanted, Mapping):
            _check_tree(state[name], wanted, count, f"{where}{name}/")
        elif isinstance(wanted, Tensor):
            is_counted = f"{where}{name}".startswith(_COUNTED)
            _check_tensor(
                f"{where}{name}", state[name], [count, *wanted.shape[1:]] if is_counted else wanted.shape, wanted
            )


def _check_tensor(name: str, found: Any, shape: Iterable[int], like: Tensor) -> None:
    if not isinstance(found, Tensor) or list(found.shape) != list(shape) or found.dtype != like.dtype:
        got = f"{found.dtype} of {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{name} must be {like.dtype} of {list(shape)}, got {got}")
    if not is_finite(found):
        raise ValueError(f"{name} must be finite")


def _check_early_end(trainer: Trainer, state: Any) -> None:
    """What the decision depends on, or nothing where training takes all steps."""
    names, total = trainer.early_end.state_dict().keys(), trainer.config.total_steps
    if not isinstance(state, Mapping) or state.keys() != names:
        raise ValueError(f"early_end must hold {', '.join(names) or 'nothing'}")
    if not names:
        return
    if not is_finite_number(state["best"]) or not _is_index(state["looks_without_gain"], total):
        raise ValueError("early_end/best must be a number and early_end/looks_without_gain one from 0")
    if not _is_index(state["end_step"], total + 1):
        raise ValueError(f"early_end/end_step must be in [0, {total}], got {state['end_step']!r}")


def _check_numbers(state: Mapping[str, Any], count: int, last_step: int) -> None:
    step, seconds = state["step"], state["seconds"]
    if not _is_index(step, last_step + 1):
        raise ValueError(f"step must be in [0, {last_step}], got {step!r}")
    if not isinstance(state["is_finished"], bool) or (state["is_finished"] and step < last_step):
        raise ValueError(
            f"is_finished must be true or false, and false before the last step, got {state['is_finished']!r}"
        )
    if not is_finite_number(seconds) or seconds < 0:
        raise ValueError(f"seconds must be a number from 0, got {seconds!r}")
    neighbors = state["neighbors"]
    if neighbors.numel() and not (int(neighbors.min()) >= 0 and int(neighbors.max()) < count):
        raise ValueError(f"neighbors must be indices below {count}")


def _check_sampler(state: Any, num_times: int, num_views: int) -> None:
    times, rows = state["times"], state["views"]
    if not isinstance(times, list) or not all(_is_index(time, num_times) for time in times):
        raise ValueError(f"sampler/times must be indices below {num_times}")
    is_whole = isinstance(rows, list) and all(isinstance(row, list) and row for row in rows)
    if not is_whole or not all(_is_index(row[0], num_times) for row in rows):
        raise ValueError(f"sampler/views must be lists that begin with an index below {num_times}")
    if not all(_is_index(view, num_views) for row in rows for view in row[1:]):
        raise ValueError(f"sampler/views must hold indices below {num_views}")


def _check_optimizer(trainer: Trainer, state: Any, count: int) -> None:
    """Adam's moments of every parameter, or of none: they must have its shape, and squares be squares."""
    parameters = {
        f"{name}.{i}": parameter
        for name, group in trainer.optimizer.groups.items()
        for i, parameter in enumerate(group)
    }
    gaussians = {id(parameter) for parameter in trainer.scene.gaussians.parameters()}
    for name, found in state.items():
        owner, _, kind = name.rpartition(".")
        if owner not in parameters or kind not in _ADAM:
            raise ValueError(f"optimizer/{name} belongs to no parameter")
        parameter = parameters[owner]
        shape = [count, *parameter.shape[1:]] if id(parameter) in gaussians else parameter.shape
        like = torch.zeros(()) if kind == "step" else parameter
        _check_tensor(f"optimizer/{name}", found, [] if kind == "step" else shape, like)
        if kind != "exp_avg" and bool((found < 0).any()):
            raise ValueError(f"optimizer/{name} must be 0 or above")
        if any(f"{owner}.{other}" not in state for other in _ADAM):
            raise ValueError(f"optimizer/{owner} must have {', '.join(_ADAM)}")


def _check_average(trainer: Trainer, state: Any, scene: Mapping[str, Tensor]) -> None:
    """The means of all parameters and their count, or nothing."""
    names = {name for name, _ in trainer.scene.named_parameters() if name in scene}
    if state == {}:
        return
    if not isinstance(state, Mapping) or state.keys() != {*names, COUNT}:
        raise ValueError(f"average must hold {', '.join(sorted(names))} and {COUNT}, or nothing")
    for name in sorted(names):
        _check_tensor(f"average/{name}", state[name], scene[name].shape, scene[name])
    if not _is_index(state[COUNT], trainer.config.total_steps + 1) or not state[COUNT]:
        raise ValueError(f"average/{COUNT} must be in [1, {trainer.config.total_steps}], got {state[COUNT]!r}")


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count
