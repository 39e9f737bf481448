"""The command line of training: one file a verb, each a plain function with typer annotations.

A verb reads its files, calls one thing below it and prints the result; what it refuses is a
`UserError` with a hint. Names and one-line helps stand in `envs.cli.command`, which imports a verb only
when it is called.
"""
