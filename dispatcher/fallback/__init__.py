"""Third-party channels: the port, the policy, the workers, and the channels themselves."""
