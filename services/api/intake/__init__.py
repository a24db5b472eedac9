"""From a POST to a batch that the broker has."""
