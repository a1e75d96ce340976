"""
What an image service means, without routes, SQL or sockets.
"""
