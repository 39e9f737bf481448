"""What one day does: the fold, the chances, the masks and the rewards, one function each.

`start` says where a journey begins; `fold` moves a state by one event and closes a day; `chances` looks
probabilities up; `masks` says what is legal; `rewards` prices an event. `outcomes` lists what a day can
bring, in order, and how its chances multiply: all that enumerate a day read it (`branches` for the
solver, the branches of hidden types, the learned days). `day` plays an outcome, and samples one; that
`sample_day` repeats the order is a fifth of the simulator's speed. `likelihood` weighs the one outcome
that happened, as a belief over hidden types. Tests hold both to the list. All of it is scalar code
that runs compiled or as plain Python, and everybody else calls it.
"""
