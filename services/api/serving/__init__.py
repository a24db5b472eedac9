"""HTTP itself: connections, keys, bodies, pages, problem documents."""
