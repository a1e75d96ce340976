"""
Configuration.
"""
