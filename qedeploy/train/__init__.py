"""Images and labels, the training loop, and the accuracy of models and of what was exported from them."""
