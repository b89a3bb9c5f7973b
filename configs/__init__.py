"""Experiments by name: ``--config=quickstart``. Installed as ``rir_jax.configs``."""
