"""
Tests: streaming.
"""
