"""XLA's options for the programs of tests, which run once: a third of the compile time.

LLVM's later passes, and kernels by way of MLIR, are for programs that run long. Sums may be
taken in another order than in those.
"""

FAST_COMPILE = {
    "xla_backend_optimization_level": "0",
    "xla_cpu_use_fusion_emitters": "false",
}
"""As `jax.jit`'s ``compiler_options``."""

FAST_FLAGS = " ".join(f"--{name}={value}" for name, value in FAST_COMPILE.items())
"""As the environment variable ``XLA_FLAGS``."""
