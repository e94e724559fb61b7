__version__ = "0.pretended"
