"""What is kept: events, decisions, reservations and keys of idempotency, in SQL.

`tables` is the schema, `store` the connection and its group commits, `ledger` customers and their
events, `decision_log` decisions and activations, `exporting` the event log of it all.
"""
