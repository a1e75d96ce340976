"""
Tests of both daemons and of what they stand on.
"""

from hypothesis import HealthCheck, settings

# How fast a machine is that does other things, too, is not what any test is about.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")
