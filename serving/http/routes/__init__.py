"""The HTTP routes, one module a subject; each parses, calls the service and returns."""
