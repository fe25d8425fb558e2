"""Published results about feedback loops, run again: one module a paper (see study.py)."""
