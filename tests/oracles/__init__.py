"""Slow, plain, obviously right versions of the equations."""
