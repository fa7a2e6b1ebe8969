"""Messages to people about their jobs: who wants which (`wishes`), which are due (`collect`), how
they read (`words`), and how far each has come (`sending`).

What sends them is above this floor: it asks for what is due, claims it, and says what became of it.
"""
