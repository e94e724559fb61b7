"""Which layer a microsecond belongs to, and what orders the layers' times."""
