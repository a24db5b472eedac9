"""Sending batches and following them."""
