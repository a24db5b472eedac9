"""sms-batch on one machine without Docker: a private broker, the services and the simulator as detached processes."""
