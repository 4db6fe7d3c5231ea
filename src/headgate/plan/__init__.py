"""What should the gateway do?  `translate`: Snapshot → Plan and Statuses."""
