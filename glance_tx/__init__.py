"""
The image service: a catalog of virtual machine images and the streaming of their data.
"""

__version__ = "0.1.0"
