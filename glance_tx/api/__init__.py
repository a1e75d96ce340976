"""
Routes of the Image API.
"""
