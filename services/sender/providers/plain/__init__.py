"""The plain format: JSON over HTTP, which a small service of one's own can speak before any provider."""
