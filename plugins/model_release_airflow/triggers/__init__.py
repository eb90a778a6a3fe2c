"""What waits in the triggerer; it only reads."""
