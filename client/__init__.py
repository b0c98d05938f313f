"""Clients of the REST API, blocking and asynchronous."""
