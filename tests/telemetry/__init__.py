"""
Logs, request ids, numbers and health.
"""
