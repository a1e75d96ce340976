"""
One mixin per interface: the tests that every implementation passes.
"""
