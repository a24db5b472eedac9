"""smsctl, the operator's command: send a file, watch a batch, keep templates, look after the broker's topology."""
