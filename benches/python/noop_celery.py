"""The no-op as a Celery task.

Acknowledged after it ran: by default Celery does so before, and a task of a killed worker is lost. No results are kept.
The prefetch is what its manual advises for many short tasks. One connection for each thread that feeds.
"""

import os

from celery import Celery

app = Celery("noop_celery", broker=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, task_ignore_result=True, worker_prefetch_multiplier=64, broker_pool_limit=16)


@app.task
def noop():
    """Do nothing."""
