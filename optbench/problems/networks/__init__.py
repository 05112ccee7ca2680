"""Networks on image data."""
