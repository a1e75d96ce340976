"""
Tests: web.
"""
