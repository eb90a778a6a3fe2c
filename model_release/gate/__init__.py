"""The gate on the command line and in CI: ``python -m model_release.gate``; one module per command."""
