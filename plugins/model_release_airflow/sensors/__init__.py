"""The gate as an Airflow sensor."""
