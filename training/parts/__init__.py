"""What learners are made of: environments, priors, replay buffers, imitation, masked PPO.

Nothing here is a learner; each part is used by one or more modules of `learners`.
"""
