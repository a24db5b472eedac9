"""Receipts over HTTP: each vendor's way to tell them, to prove who tells, and to hear that they were taken."""
