"""From a float network and data to the fastest file that keeps its outputs: measure, choose, write, measure again."""
