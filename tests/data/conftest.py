"""These tests run with strict promotion: no operation mixes types."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        yield
