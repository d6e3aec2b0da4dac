"""Place and route of build folders with open tools: what a circuit really takes on its device, and its real clock."""
