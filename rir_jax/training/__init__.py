"""The numerics of training, which write nothing: objective, step, engine, setup."""
