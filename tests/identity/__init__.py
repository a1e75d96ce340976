"""
Tests: identity.
"""
