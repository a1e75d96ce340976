"""
The HTTP edge that both daemons share.
"""
