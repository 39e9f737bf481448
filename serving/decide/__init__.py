"""From a customer's standing to an answer: mask, policy, draw, reason.

`standing` folds the timeline, `decider` runs a decision, `choice` masks and draws, `outcome` words the
answer, `activation` takes what came of it; `scoring` does the same for a file of customers.
"""
