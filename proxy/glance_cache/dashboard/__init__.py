"""
The page on which an operator sees a node at work.
"""
