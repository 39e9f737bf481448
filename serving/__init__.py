"""Answering: decisions, events and state over HTTP. Stands on `envs` only; never learns or solves."""
