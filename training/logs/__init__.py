"""From somebody's raw log to the project's event log, prepared for fitting.

`mapping` is the file people write; `raw_log` reads theirs, `map_skeleton` drafts a mapping,
`log_check` says what is wrong with a log; `customer_table` and `clusters` place customers; `prepare`
does it all in order.
"""
