"""
Tests of both daemons and of what they stand on.
"""
