"""What a network is (Structure, Layer) and what it costs, with no framework beneath."""
