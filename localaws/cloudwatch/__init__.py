"""CloudWatch: metrics in log lines, and the states of alarms."""
