"""Speed, compared in the same run; each module prints one table."""
