"""What administrators may limit: jobs per user, run time per app and user, sizes."""
