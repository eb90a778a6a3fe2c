"""Recommendation algorithms: one file each, behind the protocol in ``protocol.py``; ``catalogue.py`` finds them by name."""
