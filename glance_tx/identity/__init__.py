"""
Who is calling.
"""
