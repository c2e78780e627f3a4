"""The background worker: a child process that holds torch, spoken to over its stdin and stdout."""
