"""
What an operator says of custom properties, in files of their own.
"""
