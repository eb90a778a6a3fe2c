"""The steps of a release as Airflow tasks."""
