"""The checks that the word `default` stands for, by gate. Each of them fails where it finds something."""

PRESETS = {
    "security": (
        "bandit --recursive --exclude */tests/*,*/test/*,*/.venv/*,*/venv/* .",
        "pip-audit --progress-spinner off",
        "detect-secrets scan",
    ),
    "quality": ("ruff check .", "ruff format --check ."),
}
