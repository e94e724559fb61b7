"""Whether what is known of a network before training orders what it gets right after it."""
