"""How Airflow does each step of a release."""
