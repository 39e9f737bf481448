"""The FastAPI application: routes, errors, limits, documentation.

Routes parse, call the service and return; what they answer is decided below.
"""
