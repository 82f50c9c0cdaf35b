"""Secrets Manager: values, versions, labels, late reads, and the rotation engine with its schedules."""
