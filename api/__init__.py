"""REST, SSE, keys and limits: everything under `/v1`."""
