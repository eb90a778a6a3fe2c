"""The DAG of the how-to guide "with a trial before", word for word, behind a task that trains; and the policy of its trial."""

from __future__ import annotations

import textwrap
from pathlib import Path

from scripts.services import PROJECT

GUIDE = PROJECT / "docs" / "how-to" / "append-to-your-own-dag.md"
DAG = "documented_trial"
FAULTS = "model_faults.json"  # in the installation's folder
BUDGET_MINUTES = 10.0

# for a tenth of a few requests per second: a candidate that fails half of them is far beyond the margin, a good one far below
ONLINE = f"""
online:
  budgets: {{error_minutes: 3, inconclusive_minutes: {BUDGET_MINUTES}}}
  minimum_minutes: 0
  replicas: up{{job="api"}}
  maximum_age_seconds: 20
  step_seconds: 2
  checks:
    - name: degraded-not-more
      kind: ratio
      count: ['recommendation_degraded_total{{endpoint="recommend",variant="$arm",reason!="no_model"}}']
      of: ['recommendation_answers_total{{endpoint="recommend",variant="$arm"}}']
      margin: 0.2
      worse: higher
      minimum_requests: 50
    - name: split-as-asked
      kind: sample_ratio
      users: 'recommendation_trial_users{{variant="$arm"}}'
      minimum_users: 200
"""


def documented_dag() -> str:
    """Return the DAG file: a task ``train``, then what the guide says."""
    with_a_trial = GUIDE.read_text(encoding="utf-8").split("## With a trial before")[1]
    code = with_a_trial.split("```python\n")[1].split("```")[0]
    return Path(__file__).with_name("documented_dag.py").read_text(encoding="utf-8") + textwrap.indent(code, "    ")
