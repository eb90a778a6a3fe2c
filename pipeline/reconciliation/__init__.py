"""What was served on a day, joined with what people then did: the parts of ``python -m pipeline.reconcile``."""
