"""What the workers under attack load."""
