"""What others rely on: the secret's JSON, the bucket's keys, staging labels, tags, event names. Calls nothing."""
