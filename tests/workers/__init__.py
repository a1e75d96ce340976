"""
Tests of several processes that serve one port.
"""
