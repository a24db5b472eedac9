"""What failed: shown, sent again, thrown away."""
