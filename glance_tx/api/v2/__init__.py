"""
The Image API v2.
"""
