"""One process that is one agent: reads frames from the daemon, runs a smolagents agent, answers in frames."""
