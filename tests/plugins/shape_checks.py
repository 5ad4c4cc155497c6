"""Cheaper checks of signatures than those of jaxtyping's import hook, which take nearly half of the time of all tests.

The hook decorates every function when its module is imported, checks arguments twice and binds them once more for its
messages. Here a function is decorated at its first call, and everything is checked once; one that is defined within
another, as often as that is called, is decorated the first time only. Arrays whose hints hold nothing but numbers and
names are compared with them in a third of the time. What is refused is the same, except that arguments are not checked
again after the call; so are the errors.
"""

import copy
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import beartype
import jaxtyping
import numpy as np
import torch
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from jaxtyping import _array_types as array_types
from jaxtyping import _decorator as decorator
from jaxtyping._storage import _shape_storage, pop_shape_memo, push_shape_memo, shape_str

_jaxtyped = jaxtyping.jaxtyped
_is_instance = array_types._MetaAbstractArray.__instancecheck__
_FUNCTION, _MESSAGES = (
    "__beartype_func",
    "__beartype_call_curr",
)  # what a checking function of beartype keeps of its own
_NO_SIZES: tuple[dict[str, Any], ...] = ({}, {}, {}, {})
_INNER: dict[tuple[Any, ...], FunctionType] = {}  # checking functions of functions within others, without the function


def install() -> None:
    """Makes the import hook of jaxtyping use these checks; before the modules to check are imported."""
    jaxtyping.jaxtyped = decorator.jaxtyped = _checked
    array_types._MetaAbstractArray.__instancecheck__ = _is_quickly_instance


@dataclass(frozen=True)
class _Sizes:
    """What a hint says of an array, if its axes are numbers, names and `_`, and one of them `*name` or `...`.

    Attributes:
        kinds: types of the array.
        axes: sizes and names of the axes; None for any.
        variadic: place of the axes that are any number, if there are some, and their name.
        dtypes: data types that were found to be right.
    """

    kinds: frozenset[type]
    axes: tuple[int | str | None, ...]
    variadic: tuple[int, str | None] | None
    dtypes: set[Any] = field(default_factory=set)


@functools.cache
def _sizes_of(hint: Any) -> _Sizes | None:
    """None of a hint that says something else."""
    kinds = {torch.Tensor: (torch.Tensor, torch.nn.Parameter), np.ndarray: (np.ndarray,)}.get(hint.array_type)
    axes, variadic = [], None
    for place, axis in enumerate(hint.dims):
        if getattr(axis, "broadcastable", False) or getattr(axis, "treepath", False):
            return None
        if type(axis) is array_types._NamedVariadicDim:
            variadic = place, axis.name
        elif axis is array_types._anonymous_variadic_dim:
            variadic = place, None
        elif axis is array_types._anonymous_dim:
            axes.append(None)
        elif type(axis) is array_types._FixedDim:
            axes.append(axis.size)
        elif type(axis) is array_types._NamedDim:
            axes.append(axis.name)
        else:
            return None
    return _Sizes(frozenset(kinds), tuple(axes), variadic) if kinds else None


def _is_quickly_instance(hint: Any, value: Any) -> bool:
    """Whether an array is as a hint says; jaxtyping itself decides wherever it may not be, and of new data types."""
    sizes, stack = _sizes_of(hint), getattr(_shape_storage, "memo_stack", None)
    if sizes is None or not stack or type(value) not in sizes.kinds or value.dtype not in sizes.dtypes:
        found = _is_instance(hint, value)
        if found and sizes is not None and type(value) in sizes.kinds:
            sizes.dtypes.add(value.dtype)
        return found
    shape, named, variadic = value.shape, stack[-1][0], None
    if sizes.variadic is not None:
        first, name = sizes.variadic
        last = len(shape) - len(sizes.axes) + first
        if last < first:
            return _is_instance(hint, value)
        if name is not None:
            variadic = shape[first:last]
            if stack[-1][1].get(name, (False, variadic)) != (False, variadic):
                return _is_instance(hint, value)
        shape = shape[:first] + shape[last:]
    if len(shape) != len(sizes.axes):
        return _is_instance(hint, value)
    before = len(named)
    for axis, size in zip(sizes.axes, shape, strict=True):
        if axis is not None and size != (named.setdefault(axis, size) if type(axis) is str else axis):
            while len(named) > before:  # as if it had not been looked at
                named.popitem()
            return _is_instance(hint, value)
    if variadic is not None:
        stack[-1][1][name] = False, variadic
    return True


def _checked(fn: Any = None, *, typechecker: Callable) -> Any:
    """In place of `jaxtyping.jaxtyped`."""
    if fn is None:
        return functools.partial(_checked, typechecker=typechecker)
    if not inspect.isfunction(fn):  # a class, property or method, whose functions come here one by one
        if inspect.isclass(fn) and hasattr(vars(fn).get("__init__"), "is_checked"):
            return fn
        return _jaxtyped(fn, typechecker=typechecker)
    call = None

    @functools.wraps(fn)
    def checking(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal call
        if call is None:
            call = _check_once(fn, typechecker)
        return call(*args, **kwargs)

    checking.is_checked = True
    return checking


def _check_once(fn: FunctionType, typechecker: Callable) -> Callable:
    hints = fn.__annotations__
    if not hints:
        return fn
    target: Any = fn
    if inspect.isgeneratorfunction(fn) or any(
        isinstance(hint, str) or "ForwardRef" in repr(hint) for hint in hints.values()
    ):
        try:
            hints = typing.get_type_hints(fn, include_extras=True)
        except NameError:  # of what is imported for type checkers alone
            return _jaxtyped(fn, typechecker=typechecker)
        target = _forwarding(fn, hints)
    text = repr(hints)
    is_inner = fn.__code__.co_flags & inspect.CO_NESTED
    checked = _checked_inner(target, (fn.__code__, text)) if is_inner else beartype.beartype(target)
    has_sizes = "jaxtyping" in text or "~" in text  # a type variable may stand for an array

    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        sizes = push_shape_memo({}) if has_sizes else _NO_SIZES
        try:
            return checked(*args, **kwargs)
        except BeartypeCallHintReturnViolation as violation:
            shapes = [tuple(value.shape) for value in violation.culprits if hasattr(value, "shape")]
            raise jaxtyping.TypeCheckError(f"{violation}\nShape: {shapes}\n{shape_str(sizes)}") from None
        except BeartypeCallHintParamViolation as violation:
            refused = str(violation)
        finally:
            if has_sizes:
                pop_shape_memo()
        _jaxtyped(fn, typechecker=typechecker)(*args, **kwargs)  # raises with the shapes of all arguments
        raise jaxtyping.TypeCheckError(refused)

    return call


def _forwarding(fn: Callable, hints: dict[str, Any]) -> Callable:
    """A function that calls another and has these hints; of a generator, one that is checked when it is called."""

    @functools.wraps(fn)
    def forwarding(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return fn(*args, **kwargs)

    forwarding.__annotations__ = hints
    return forwarding


def _checked_inner(fn: Callable, key: tuple[Any, ...]) -> Callable:
    """What beartype makes of a function within another: a copy of what it made for an earlier one.

    It takes a fifth of a millisecond to make, and a fit of a few steps defines hundreds of such functions.

    Args:
        fn: the function.
        key: what functions have in common for which the same is made.
    """
    made = _INNER.get(key)
    if made is None:
        made: Any = beartype.beartype(fn)
        if made is fn or not {_FUNCTION, _MESSAGES} <= (made.__kwdefaults__ or {}).keys():
            return made
        made = _INNER[key] = _copy(made, None)  # which keeps nothing alive of this call
    return _copy(made, fn)


def _copy(made: FunctionType, fn: Callable | None) -> FunctionType:
    """A checking function of beartype for another function of the same definition."""
    again = FunctionType(made.__code__, made.__globals__, made.__name__)
    messages = copy.copy(made.__kwdefaults__[_MESSAGES])
    messages.decoratee = fn
    again.__kwdefaults__ = made.__kwdefaults__ | {_FUNCTION: fn, _MESSAGES: messages}
    vars(again).update(vars(made) | {"__wrapped__": fn})
    return again
