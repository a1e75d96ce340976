"""
What disk formats data look like, whatever somebody says they are.
"""
