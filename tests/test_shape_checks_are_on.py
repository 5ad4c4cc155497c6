"""The shapes written in signatures are checked while tests run; these tests fail if the import hook is off."""

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator

import beartype
import jaxtyping
import numpy as np
import pytest
import shape_checks
import torch
from jaxtyping import Float, Int, Num
from jaxtyping._storage import pop_shape_memo, push_shape_memo
from torch import Tensor

from ds4d.geometry import multiply_quats, quats_to_matrices
from ds4d.types import FrameBatch


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="quats"):
        quats_to_matrices(torch.ones(5, 3))


def test_a_wrong_dtype_is_refused() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="quats"):
        quats_to_matrices(torch.ones(5, 4, dtype=torch.int64))


def test_sizes_are_bound_across_arguments() -> None:
    """Torch would refuse to broadcast 3 and 2 as well, but with another error: the annotation comes first."""
    with pytest.raises(jaxtyping.TypeCheckError):
        multiply_quats(torch.ones(3, 4), torch.ones(2, 4))


def test_sizes_are_bound_across_the_fields_of_a_noun() -> None:
    """Heights that differ pass the field-by-field checks of the constructor; the annotations bind H."""
    with pytest.raises(jaxtyping.TypeCheckError):
        FrameBatch(images=torch.zeros(2, 3, 8, 8), alphas=torch.zeros(2, 1, 9, 8))


def test_a_wrong_result_is_refused_with_its_shape() -> None:
    def halves(x: Float[torch.Tensor, " N"]) -> Float[torch.Tensor, " N"]:
        return x[: len(x) // 2]

    checked = jaxtyping.jaxtyped(halves, typechecker=beartype.beartype)
    with pytest.raises(jaxtyping.TypeCheckError, match=r"return.*\n.*\(2,\)"):
        checked(torch.ones(4))
    with pytest.raises(jaxtyping.TypeCheckError, match=r"x.*\n.*f32\[4,1\]"):
        checked(torch.ones(4, 1))
    torch.testing.assert_close(checked(torch.ones(0)), torch.ones(0))


def test_every_function_of_an_inner_definition_is_checked_and_called() -> None:
    def cut_to(size: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def cut(x: Float[torch.Tensor, " N"]) -> Float[torch.Tensor, " N"]:
            return x[:size] + size

        return jaxtyping.jaxtyped(cut, typechecker=beartype.beartype)

    for size, cut in [(size, cut_to(size)) for size in (3, 4, 5)]:
        torch.testing.assert_close(cut(torch.zeros(size)), torch.full((size,), float(size)))
        with pytest.raises(jaxtyping.TypeCheckError, match=r"x.*\n.*f32\[4,1\]"):
            cut(torch.ones(4, 1))
        with pytest.raises(jaxtyping.TypeCheckError, match=rf"return.*\n.*\({size},\)"):
            cut(torch.ones(6))


def test_an_inner_function_is_not_kept_alive_by_its_checks() -> None:
    def made() -> weakref.ref:
        held = torch.ones(3)

        def first(x: Float[torch.Tensor, " N"]) -> Float[torch.Tensor, " N"]:
            return x + held

        jaxtyping.jaxtyped(first, typechecker=beartype.beartype)(held)
        return weakref.ref(held)

    references = [made(), made()]
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_arguments_of_a_generator_are_checked_when_it_is_called() -> None:
    def rows(x: Float[torch.Tensor, "N 3"], count: int) -> Iterator[Float[torch.Tensor, " 3"]]:
        yield from x[:count]

    checked = jaxtyping.jaxtyped(rows, typechecker=beartype.beartype)
    assert len(list(checked(torch.ones(4, 3), 2))) == 2
    for wrong in ((torch.ones(4), 2), (torch.ones(4, 3), "2")):
        with pytest.raises(jaxtyping.TypeCheckError):
            checked(*wrong)


def test_names_in_quotes_are_resolved() -> None:
    def frames_of(batch: "FrameBatch", sizes: list["int"]) -> "FrameBatch":
        return batch if sizes else sizes  # type: ignore[return-value]

    checked = jaxtyping.jaxtyped(frames_of, typechecker=beartype.beartype)
    batch = FrameBatch(images=torch.zeros(2, 3, 8, 8), alphas=torch.zeros(2, 1, 8, 8))
    assert checked(batch, [1]) is batch
    for wrong in ((torch.zeros(2), [1]), (batch, ["1"]), (batch, [])):
        with pytest.raises(jaxtyping.TypeCheckError):
            checked(*wrong)


HINTS = [
    Float[Tensor, "N 3"], Float[Tensor, "N N"], Float[Tensor, "*T N"], Float[Tensor, "*T M 3"], Float[Tensor, "... 3"],
    Float[Tensor, "_ N"], Float[Tensor, ""], Float[Tensor, "*T"], Int[Tensor, " N"], Num[np.ndarray, "N 3"],
    Float[Tensor, "#N 3"], Float[Tensor, "N N+1"], Num[np.ndarray, "*#T 3"],
]  # fmt: skip
ARRAYS = [
    torch.zeros(()), torch.zeros(3), torch.zeros(4, 3), torch.zeros(3, 3), torch.zeros(2, 4, 3), torch.zeros(4, 5),
    torch.zeros(1, 3), torch.zeros(4, dtype=torch.int64), torch.nn.Parameter(torch.zeros(4, 3)), np.zeros((4, 3)),
    np.zeros((2, 4, 3), np.uint8), 3.0,
]  # fmt: skip


@pytest.mark.parametrize("first", HINTS, ids=lambda hint: hint.__name__)
def test_quick_checks_find_what_jaxtyping_finds(first: type) -> None:
    """Of two arrays that are checked one after the other, with the same names of sizes; they bind the same sizes."""

    def found(check: Callable, *pairs: tuple) -> tuple:
        memos = push_shape_memo({"argument": 1})
        try:
            results = [check(hint, array) for hint, array in pairs]
            return (*results, *memos)
        except jaxtyping.AnnotationError:
            return ("a size of names that are not known yet",)
        finally:
            pop_shape_memo()

    for hint, one, other in itertools.product(HINTS, ARRAYS, ARRAYS):
        pairs = (first, one), (hint, other)
        assert found(isinstance_of, *pairs) == found(shape_checks._is_instance, *pairs), pairs


def isinstance_of(hint: type, value: object) -> bool:
    return isinstance(value, hint)
