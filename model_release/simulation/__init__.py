"""How a policy would decide: on past releases, on equal runs, and on runs that are worse by a known amount."""
