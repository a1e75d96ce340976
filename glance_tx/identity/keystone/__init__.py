"""
Strategy ``keystone``: tokens of an OpenStack Identity service, API v3.
"""
