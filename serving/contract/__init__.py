"""Every request and answer of the HTTP interface, typed, and nothing else.

Strict models of decisions, events, customers and policies, and the words they share; `intake` reads
foreign event formats leniently into our own. No rule of a journey and no table of the store.
"""
