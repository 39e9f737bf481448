"""Learning, judging and exporting where a cluster mixes hidden types.

The belief is part of the observation (`env`), PPO corrects a look ahead on it (`ppo`), the file is
one graph of state and belief (`export`), and rollouts judge it (`judge`), as no exact value exists.
"""
