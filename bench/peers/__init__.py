"""What ringkv is measured against: programs that a person could choose instead, each set up as that person would."""
