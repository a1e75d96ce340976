"""
Tests: tls.
"""
