"""qedeploy: search, export and benchmark quantized networks for a named device."""

__version__ = "0.1.0"
