"""A file for each section of the page: what it measures, and how it tells it."""
