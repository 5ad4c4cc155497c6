"""The shapes written in signatures are checked while tests run; these tests fail if the import hook is off."""

import gc
import weakref
from collections.abc import Callable, Iterator

import beartype
import jaxtyping
import pytest
import torch
from jaxtyping import Float

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
