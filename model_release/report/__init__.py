"""A decision for people: a table for the terminal, plain text for logs, markdown for messages and for CI."""

from model_release.report.ci import step_summary
from model_release.report.figures import found, wanted
from model_release.report.message import markdown
from model_release.report.terminal import plain, table

__all__ = ["found", "markdown", "plain", "step_summary", "table", "wanted"]
