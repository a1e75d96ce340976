"""
Tests: redis.
"""
