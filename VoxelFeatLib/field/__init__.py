"""The implicit field: positions to feature vectors."""
