"""
Adds ``glance-cache`` to ``twistd``.
"""

from twisted.application.service import ServiceMaker

glance_cache = ServiceMaker("glance-cache", "glance_cache.tap", "A caching proxy for image data.", "glance-cache")
