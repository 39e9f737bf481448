"""What one day does: the fold, the chances, the masks and the rewards, one function each.

`fold` moves a state by one event and closes a day; `chances` looks probabilities up; `masks` says
what is legal; `rewards` prices an event; `day` puts them in the order of a day, sampled, and
`branches` enumerates the same day; `likelihood` turns a day into a belief over hidden types. All of
it is scalar code that runs compiled or as plain Python, and everybody else calls it.
"""
