"""Vendors' APIs, spoken without their SDKs: a format for each."""
