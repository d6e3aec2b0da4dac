"""What every importer needs to bring a layer into the graph, and to refuse what it cannot."""
