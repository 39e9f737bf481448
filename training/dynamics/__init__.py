"""What a day brings, learned event by event from days, and planned with.

`sampler` draws days from the simulator, `counts` and `terms` describe them, `regression` fits one
event's odds, `model` puts the events of a day together, `branches` enumerates a day under them,
`planning` improves a policy over the states met. `learning` is what `from_samples` and `from_log`
call. Nothing of the solver or of the scenario's chances is read.
"""
