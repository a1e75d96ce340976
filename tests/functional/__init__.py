"""
Real processes, real servers, real clients.
"""
