"""The devices that fused parts are tested on.

They need a GPU, or Triton's interpreter, which runs their kernels on the CPU:

    pip install triton
    TRITON_INTERPRET=1 pytest tests/contracts/test_fused_*.py
"""

import pytest

from ds4d.core import has_triton, is_interpreted

FUSED_DEVICES = [
    pytest.param("cuda", marks=pytest.mark.gpu, id="cuda"),
    *([pytest.param("cpu", id="interpreted")] if has_triton() and is_interpreted() else []),
]
