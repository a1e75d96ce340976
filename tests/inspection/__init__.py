"""
Tests of telling disk formats.
"""
