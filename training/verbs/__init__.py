"""The command line of training: one file a verb."""
