"""
Tests: proxy.
"""
