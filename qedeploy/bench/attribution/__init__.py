"""Which layer a microsecond belongs to, and which estimate orders the layers' times."""
