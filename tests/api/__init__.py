"""
Tests: api.
"""
