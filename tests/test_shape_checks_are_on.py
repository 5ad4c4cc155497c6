"""The shapes written in signatures are checked while tests run; these tests fail if the import hook is off."""

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
