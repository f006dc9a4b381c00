"""Pages of support: the desk, the answers, the insights for agents; the chat for customers."""
