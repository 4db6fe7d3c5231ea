"""When may it go?  `admit`: Ticket → go, wait, or be dropped; the queues of a pool, by priority and by flow."""
