"""
Where image data rests: bytes and locations, and no idea of what an image is.
"""
