"""SQS: how many messages a function gets at once."""
