"""The built-in agent: recogniser, receptionist and voice that need no key, network or server."""
