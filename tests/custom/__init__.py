"""
Tests of what an operator says of custom properties.
"""
