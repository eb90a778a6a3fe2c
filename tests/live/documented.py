"""The DAGs that are documented, word for word: a team's own, and ``recommendation_pipeline`` with steps; and their policy."""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.services import PROJECT

GUIDE = PROJECT / "docs" / "how-to" / "append-to-your-own-dag.md"
DAG = "my_release"
STEPPED = "pipeline_with_steps"
STEPS = "shadow:0.1 canary:0.1"
FAULTS = "model_faults.json"  # in the installation's folder
BUDGET_MINUTES = 10.0

# for a tenth of a few requests per second: a candidate that fails half of them is far beyond the margin, a good one far
# below.  The shadow is only counted, dropped requests too, so that a busy machine does not matter, and a candidate that fails
# half of the time gets as far as its users.
ONLINE = f"""
online:
  budgets: {{error_minutes: 3, inconclusive_minutes: {BUDGET_MINUTES}}}
  minimum_minutes: 0
  replicas: up{{job="api"}}
  maximum_age_seconds: 20
  step_seconds: 2
  checks:
    - name: requests-come
      kind: query
      query: sum(recommendation_shadow_requests_total{{current="$current",candidate="$candidate"}})
      at_least: 20
      samples: sum(recommendation_shadow_requests_total{{current="$current",candidate="$candidate"}})
      minimum_samples: 20
      modes: [shadow]
    - name: degraded-not-more
      kind: ratio
      count: ['recommendation_degraded_total{{endpoint="recommend",variant="$arm",reason!="no_model"}}']
      of: ['recommendation_answers_total{{endpoint="recommend",variant="$arm"}}']
      margin: 0.2
      worse: higher
      minimum_requests: 50
      modes: [canary]
    - name: split-as-asked
      kind: sample_ratio
      users: 'recommendation_trial_users{{variant="$arm"}}'
      minimum_users: 200
      modes: [canary]
"""


def write_documented_dags(folder: Path) -> None:
    """Write both files into a DAG folder that holds ``recommendation_pipeline.py``."""
    code = GUIDE.read_text(encoding="utf-8").split("## The whole DAG")[1].split("```python\n")[1].split("```")[0]
    (folder / "documented_dag.py").write_text(code, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("my_shop.py"), folder)
    pipeline = (folder / "recommendation_pipeline.py").read_text(encoding="utf-8")
    assert pipeline.count("recommendation_pipeline()") == 2  # made, and called; nothing else has the DAG's name
    renamed = pipeline.replace("recommendation_pipeline()", f"{STEPPED}()")
    environment = (
        f'os.environ |= {{"RECOMMENDATION_RELEASE_STEPS": "{STEPS}", "RECOMMENDATION_PIPELINE_SCHEDULE": ""}}\n'
    )
    place = renamed.index('ZONE = "')
    (folder / f"{STEPPED}.py").write_text(renamed[:place] + environment + renamed[place:], encoding="utf-8")
