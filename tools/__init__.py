"""What only the repository needs, and no wheel holds: notebooks run and checked, pictures of figures/, cards."""
