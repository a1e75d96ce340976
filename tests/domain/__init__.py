"""
Tests: domain.
"""
