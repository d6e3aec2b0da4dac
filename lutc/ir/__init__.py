"""The intermediate representation: the graph, its operations, what is well-formed and what it means."""
