"""HTTP/1.1 with little CPU: keep-alive connections, one call at a time on each, nothing sent twice."""
