"""Batches and their messages, shown and commanded."""
