"""What a build was and what it costs: `report.json`, and the tables on the terminal."""
