"""
Tests: commands.
"""
