"""
Moving a body without holding it: producers, readers, lanes, digests and ranges.
"""
