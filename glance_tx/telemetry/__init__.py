"""
What a daemon tells about itself: log, request ids, numbers and health.
"""
