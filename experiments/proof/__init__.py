"""`make proof`: how close every policy comes to the optimum, a row a finished cell."""
