"""
The caching tier: serves image data near the hosts that boot from it, on behalf of an image service.
"""
