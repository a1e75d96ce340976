"""
Image data through our daemons, and through nginx, Varnish and stock Glance beside them.
"""
