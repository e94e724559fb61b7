"""From a trained model to a graph that a runtime executes, with the proof that the numbers held."""
