"""The checks a gate can make, one kind per module."""
