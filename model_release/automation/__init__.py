"""A release from outside Airflow: ask for it by REST, follow it, prove what is served; ``scripts/automate_release.py``."""
