"""
Programs for operators of caching nodes.
"""
