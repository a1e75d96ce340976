"""
Certificates: ours, and those that we believe.
"""
