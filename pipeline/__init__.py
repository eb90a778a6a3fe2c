"""How models are made: ingest, data quality, training, evaluation.  No Airflow."""
