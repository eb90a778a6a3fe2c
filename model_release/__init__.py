"""What a release is: run artifacts, registry, ledger, policy, verdicts.  Pure Python; I/O lives in ``adapters``."""

__version__ = "0.1.0"
