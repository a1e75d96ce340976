"""
Tests: notify.
"""
