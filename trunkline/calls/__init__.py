"""One call from first ring to record: joins a leg and a session, and owns the limits of both."""
