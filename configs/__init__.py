"""A config file for each experiment: ``--config=quickstart``. Installed as ``rir_jax.configs``."""
