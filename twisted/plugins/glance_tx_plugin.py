"""
Adds ``glance-api`` to ``twistd``.
"""

from twisted.application.service import ServiceMaker

glance_api = ServiceMaker("glance-api", "glance_tx.tap", "The image service (OpenStack Image API v2).", "glance-api")
