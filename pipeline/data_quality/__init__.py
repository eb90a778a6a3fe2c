"""What is measured about the data before a model is trained on it."""
