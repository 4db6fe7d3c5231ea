"""What happens to this request?  `feed`: Event → Commands, one state machine per request."""
