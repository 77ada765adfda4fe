"""`taco doctor`: what is wrong with an installation, or will be, and what to do about it."""
