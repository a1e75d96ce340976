"""
Small servers that stand in for others, in memory.
"""
