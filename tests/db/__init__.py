"""
Tests: db.
"""
