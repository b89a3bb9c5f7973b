"""XLA's options for the programs of tests, which run once: a third of the compile time.

LLVM's later passes, and kernels by way of MLIR, are for programs that run long. Without the
instruction that multiplies and adds (which AVX lacks), a result does not depend on which of the two
LLVM joins, so equal formulas in different programs agree to the bit.
"""

from importlib import metadata

FAST_COMPILE: dict[str, str | int | bool] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_max_isa": "AVX",
}
"""As `jax.jit`'s ``compiler_options``."""

if metadata.version("jaxlib").startswith("0.10."):  # later ones have no other way than MLIR
    FAST_COMPILE["xla_cpu_use_fusion_emitters"] = False

FAST_FLAGS = " ".join(f"--{name}={value}".lower() for name, value in FAST_COMPILE.items())
"""As the environment variable ``XLA_FLAGS``."""
