"""What a job of GitHub Actions needs around the stages: its event, matrices, outputs, environments, earlier attempts.

Everything here translates between GitHub and the stages; what is decided, the stages decide.
"""
