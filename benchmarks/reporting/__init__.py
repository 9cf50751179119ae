"""Makes tables, reports and pictures of numbers, and manages the folders of results."""
