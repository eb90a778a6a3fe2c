"""How models are served: the recommendation API.  No Airflow."""
