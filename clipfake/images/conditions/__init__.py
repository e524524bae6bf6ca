"""What happens to a picture on its way through the web, one named condition at a time."""
