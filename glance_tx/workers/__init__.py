"""
Several processes that serve one port: a parent that serves nothing itself, and its workers.

Knows nothing of images: any daemon may be run this way.
"""
