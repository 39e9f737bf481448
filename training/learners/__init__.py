"""The learners: one module each, with `Settings` and `learn`."""
