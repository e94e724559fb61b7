"""Search by mutation, for scores that do not separate."""
