"""The suite: a pytest plugin that builds C cases, checkpoints, restores and compares them."""
