"""What smsctl doctor looks at, and how it repairs queues."""
