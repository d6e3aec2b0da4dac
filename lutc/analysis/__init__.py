"""What can be known of a design without changing it."""
