"""The smolagents worker of the Daedalus daemon, its tools, and a client that runs a batch of tasks.

Importing this package must print nothing and import nothing heavy: the worker takes its wire first.
"""

__version__ = "0.1.0"
