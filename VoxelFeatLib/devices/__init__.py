"""The processor and GPUs of a machine: which there are, their memory, and bringing values there."""
