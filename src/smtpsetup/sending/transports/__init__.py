"""The ways out: each module gives a `Transport`, and nothing above them knows which one an account has."""
