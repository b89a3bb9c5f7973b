"""From a config to a trained network: objective, step, engine, checkpoints, loop."""
