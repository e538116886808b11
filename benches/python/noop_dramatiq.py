"""The no-op as a Dramatiq actor: acknowledged after it ran and no results kept, both by default."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def noop():
    """Do nothing."""
