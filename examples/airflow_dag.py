"""Tonight's lists as an Airflow task; goes to Airflow's dags/ folder.

For Airflow 3, and 2.10 with the provider `standard`. The command runs in an environment
of its own: what Airflow depends on and what torch depends on need not agree. The worker
must see the workspace on a local disk.
"""

from datetime import timedelta

import pendulum
from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

ZONE = "Europe/Paris"  # domain.zone of ccf.toml
PYTHON = "/opt/ccf/.venv/bin/python"
CONFIG = "/srv/ccf/ccf.toml"
# the date that has begun in that zone; `ds` is one in UTC: at 00:30 in Paris, yesterday's
DATE = "{{ data_interval_end.in_timezone('" + ZONE + "').to_date_string() }}"

with DAG(
    "ccf_batch",
    schedule="30 0 * * *",
    start_date=pendulum.datetime(2026, 7, 1, tz=ZONE),
    catchup=False,  # dates that were missed: score --dates A..B, in one go
    max_active_runs=1,
):
    BashOperator(
        task_id="score",
        # `exec`: who kills the task sends SIGTERM to the command, not to a shell before it
        bash_command=f"exec {PYTHON} -m ccf_batch.score --config {CONFIG} --date {DATE}",
        skip_on_exit_code=3,  # nothing to do
        retries=2,  # goes on from the finished shards
        retry_delay=timedelta(minutes=5),
        execution_timeout=timedelta(hours=6),
    )
