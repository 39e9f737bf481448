"""The journey: events, state, probability model, simulator, solver. Imports no other layer."""
