"""
Tests: policy.
"""
