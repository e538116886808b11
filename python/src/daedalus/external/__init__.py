"""Makes a Python function an agent of the pool, from another process or another machine.

```python
from daedalus import Worker

worker = Worker("http://127.0.0.1:8420")

@worker.task("research")
def research(payload, context):
    return {"answer": payload["question"].upper()}

worker.run()
```
"""

from daedalus.external.context import Cancelled, Context
from daedalus.external.worker import Worker

__all__ = ["Cancelled", "Context", "Worker"]
