"""Claims about off-policy evaluation."""
